"""Holding the books against the chain: to the lamport, for every mint, at one finalized slot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from commands.aggregates import Aggregates, content_id, decisions
from commands.ports import Chain, Clock, EventLog
from domain.chain import NATIVE, Mint, Slot
from domain.events import Cause, derived_id
from domain.wallets.wallet import Wallet

ACTOR: Final = "reconciler"


@dataclass(frozen=True, slots=True)
class Balance:
    """One mint of one wallet, base units."""

    mint: Mint
    expected: int
    actual: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a comparison came to.

    Attributes:
        wallet: the wallet's stream.
        slot: of the reading; none when nothing could be compared.
        balances: by the log and by the chain, native first.
        pending: why nothing could be compared now; none when it was.
    """

    wallet: str
    slot: Slot | None
    balances: tuple[Balance, ...]
    pending: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether it was compared, and books and chain are equal."""
        return self.pending is None and all(each.expected == each.actual for each in self.balances)


class Reconciler:
    """Compares wallets with the chain; a difference is put on record and halts the wallet.

    Args:
        log: appended to.
        aggregates: shared with the other services of the process.
        chain: where balances are read.
        clock: stamps what is appended.
    """

    def __init__(self, log: EventLog, aggregates: Aggregates, chain: Chain, clock: Clock) -> None:
        self._log = log
        self._aggregates = aggregates
        self._chain = chain
        self._clock = clock

    async def reconcile(self, stream: str) -> Reconciliation:
        """Compare one wallet, given by its stream, while no order of it is open.

        The reading is taken first and the books after it, at a slot that has everything booked: whatever is
        booked between the two makes the comparison pending, never wrong.

        Raises:
            InvalidInput: there is no such wallet.
            ChainError, ChainUnavailable: the balances were not answered.
            ConcurrencyError: the wallet was moved while a difference was put on record: compare again.
        """
        async with self._aggregates.hold(Wallet, stream) as wallet:
            before = wallet.version
            accounts = [held.account for held in wallet.token_accounts]
            address = wallet.address
        slot, actual = await self._chain.balances(address, accounts)
        async with self._aggregates.hold(Wallet, stream) as wallet:
            pending = _pending(wallet, before, slot)
            if pending is not None:
                return Reconciliation(stream, None, (), pending)
            return await self._compare(wallet, slot, actual)

    async def _compare(self, wallet: Wallet, slot: Slot, actual: list[int]) -> Reconciliation:
        mints = (NATIVE, *(held.mint for held in wallet.token_accounts))
        pairs = zip(mints, actual, strict=True)
        balances = tuple(Balance(mint, wallet.expected.get(mint, 0), found) for mint, found in pairs)
        now = self._clock()
        for balance in balances:
            wallet.compare(balance.mint, balance.actual, slot, now)
        cause = Cause(derived_id("reconciliation", wallet.id, slot, wallet.version), None, ACTOR)
        for append in decisions(wallet, cause, now, slot):
            await self._log.append([append], append_id=content_id(append))
        return Reconciliation(wallet.id, slot, balances)


def _pending(wallet: Wallet, before: int, slot: Slot) -> str | None:
    if wallet.version != before:
        return "the books were written to while the chain was read"
    if wallet.reserved:
        return f"{len(wallet.reserved)} orders are open"
    if slot < wallet.last_slot:
        return f"the node is at slot {slot}, the books are at {wallet.last_slot}"
    return None
