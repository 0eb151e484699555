"""Takes a file of events into the log as they were: positions, ids and hashes kept, the chain going on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing

from adapters.event_files.summary import EventReader, Summary, verified
from adapters.postgres.bulk import BulkLoad, bulk_load, prefetched
from adapters.postgres.exporting import Progress
from adapters.postgres.hash_chain import GENESIS
from adapters.postgres.rows import StoredEvent
from domain.errors import InvalidInput


async def import_events(database_url: str, reader: EventReader, progress: Progress) -> Summary:
    """All of the file in one transaction, or nothing; other appends wait meanwhile.

    Args:
        database_url: a migrated database, whose log is empty or ends right before the file begins.
        reader: the file.
        progress: told how many rows are in, and how many there are.

    Raises:
        InvalidInput: the file is a selection, is empty, does not follow on the log's head, or was changed:
            then its first line or row that does not verify is named.
        LogError: the file's streams do not go on where they stand in the log.
        SetupError, LogUnavailable: as opening the log.
    """
    claims = reader.summary
    if claims.rows == 0:
        raise InvalidInput(f"{reader.path} holds no events: there is nothing to import")
    if not claims.contiguous:
        raise InvalidInput(
            f"the file is a selection: {claims.rows} events of positions {claims.first_position} to "
            f"{claims.last_position}; a log is whole, so import an export made without filters"
        )
    done = 0
    async with bulk_load(database_url, claims.last_position) as load:
        _check_follows(load, claims)
        async with aclosing(prefetched(_proven(reader))) as batches:
            async for rows in batches:
                await load.copy(rows)
                done += len(rows)
                progress(done, claims.rows)
    return claims


def _proven(reader: EventReader) -> Iterator[list[StoredEvent]]:
    try:
        yield from verified(reader)
    except InvalidInput as error:
        raise InvalidInput(
            f"{error}; nothing was imported. The file was changed or damaged after its export: get an intact "
            "copy, or export it again"
        ) from error


def _check_follows(load: BulkLoad, claims: Summary) -> None:
    if load.position >= claims.last_position:
        raise InvalidInput(
            f"the log stands at position {load.position} and the file ends at {claims.last_position}: import "
            "into an empty log, or a file that begins where this log ends"
        )
    if load.position != claims.first_position - 1:
        raise InvalidInput(
            f"the file begins at position {claims.first_position} and the log would go on with "
            f"{load.position + 1}: give the file that begins there"
        )
    if load.hash != claims.first_prev_hash:
        other = "does not begin a log" if load.hash == GENESIS else "continues another log"
        raise InvalidInput(
            f"the file {other}: before its first event stands hash {claims.first_prev_hash.hex()}, the head "
            f"of this log has {load.hash.hex()}"
        )
