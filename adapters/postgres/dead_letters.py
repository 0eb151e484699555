"""Dead letters of the read models in PostgreSQL: what could not be folded, and what shall become of it."""

from __future__ import annotations

from typing import Final

import asyncpg

from adapters.postgres.generations import ident
from adapters.postgres.read_pool import CALL_S, ReadPool
from domain.errors import ReadStoreUnavailable
from projections.ports import DeadLetter, Generation, LetterState, Positioned

_SET_ASIDE: Final = """
insert into daybook_models.dead_letters (name, version, generation, position, topic, stream, error, attempts)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (name, version, generation, position) do update
set error = excluded.error, attempts = dead_letters.attempts + excluded.attempts, set_aside_at = now(),
    state = case dead_letters.state when 'dropped' then 'dropped' else 'waiting' end
"""
_LETTERS: Final = """
select id, name, version, generation, position, topic, stream, error, attempts, state, reason
from daybook_models.dead_letters
where ($1::text is null or name = $1) and ($2::text is null or state = $2)
order by id limit $3
"""
_DECIDE: Final = "update daybook_models.dead_letters set state = $2, reason = $3 where id = $1 returning 1"


class PostgresDeadLetters(ReadPool):
    """See `projections.ports.DeadLetters`."""

    async def set_aside(self, generation: Generation, event: Positioned, error: str, attempts: int) -> None:
        """Write a dead letter; a repeated one replaces the first and counts its attempts on.

        Raises:
            ReadStoreUnavailable: no answer. So may the others.
        """
        letter = (event.position, event.topic, event.stream, error, attempts)
        async with self._connection("set an event aside for", generation.name) as connection:
            try:
                await connection.execute(_SET_ASIDE, *ident(generation), *letter, timeout=CALL_S)
            except asyncpg.UndefinedTableError as missing:
                raise ReadStoreUnavailable(
                    f"position {event.position} could not be set aside for {generation.name!r}: no read "
                    "model was ever prepared in this database; start the services once"
                ) from missing

    async def dead_letters(
        self, name: str | None = None, *, state: LetterState | None = None, limit: int = 1_000
    ) -> list[DeadLetter]:
        """Dead letters of one read model or of all, oldest first."""
        asked = None if state is None else state.value
        async with self._connection("read the dead letters of", name or "(all)") as connection:
            try:
                rows = await connection.fetch(_LETTERS, name, asked, limit, timeout=CALL_S)
            except asyncpg.UndefinedTableError:
                return []  # nothing was ever prepared in this database
        return [_letter(row) for row in rows]

    async def retry_dead_letter(self, letter_id: int) -> bool:
        """Have the event folded again; false where there is no such letter."""
        return await self._decide(letter_id, LetterState.RETRY, None)

    async def drop_dead_letter(self, letter_id: int, reason: str) -> bool:
        """Leave the event out of this version for good, and keep why; false where there is no such letter."""
        return await self._decide(letter_id, LetterState.DROPPED, reason)

    async def _decide(self, letter_id: int, state: LetterState, reason: str | None) -> bool:
        async with self._connection("decide on a dead letter of", "(all)") as connection:
            try:
                return bool(
                    await connection.fetchval(_DECIDE, letter_id, state.value, reason, timeout=CALL_S)
                )
            except asyncpg.UndefinedTableError:
                return False


def _letter(row: asyncpg.Record) -> DeadLetter:
    return DeadLetter(**{**dict(row), "state": LetterState(row["state"])})
