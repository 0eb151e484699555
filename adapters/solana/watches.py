"""What a reader of notifications holds: the newest of each, never a queue that a slow reader lets grow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from domain.chain import Address, Commitment, Slot
from domain.errors import ChainError


@dataclass(frozen=True, slots=True)
class SightLost:
    """Notifications may be missing between two times (microseconds since the epoch)."""

    since: int
    until: int
    reason: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What a watch saw since the last look.

    Attributes:
        slots: the slot of the newest notification of each account that changed.
        lost: the time without sight, when there was one and the subscriptions are back.
    """

    slots: dict[Address, Slot]
    lost: SightLost | None


class AccountWatch:
    """Accounts that changed: at most one entry per account, however slow the reader is.

    Attributes:
        conflated: notifications that a newer one of the same account replaced before they were read.
    """

    def __init__(self) -> None:
        self.conflated = 0
        self._slots: dict[Address, Slot] = {}
        self._lost: SightLost | None = None
        self._refusal: ChainError | None = None
        self._woken = asyncio.Event()

    async def changes(self) -> Changes:
        """Wait for the next change or the return of sight.

        Raises:
            ChainError: the node refuses one of the subscriptions.
        """
        await self._woken.wait()
        self._woken.clear()
        if self._refusal is not None:
            raise self._refusal
        seen, self._slots = self._slots, {}
        lost, self._lost = self._lost, None
        return Changes(seen, lost)

    def notice(self, address: Address, notification: Any) -> None:  # noqa: ANN401 - the node's JSON
        """Take a notification in; KeyError, TypeError or ValueError when it is malformed."""
        slot = int(notification["context"]["slot"])
        self.conflated += address in self._slots
        self._slots[address] = Slot(max(slot, self._slots.get(address, 0)))
        self._woken.set()

    def sight_lost(self, lost: SightLost) -> None:
        """Take in that sight was lost and is back; two losses unread become one."""
        self._lost = SightLost(self._lost.since, lost.until, lost.reason) if self._lost else lost
        self._woken.set()

    def refuse(self, refusal: ChainError) -> None:
        """Take in that the node refuses a subscription."""
        self._refusal = refusal
        self._woken.set()


class SignatureWatch:
    """The commitments a signature has reached and nobody has read yet."""

    def __init__(self) -> None:
        self._reached: set[Commitment] = set()
        self._refused = False
        self._woken = asyncio.Event()

    async def reached(self) -> list[Commitment]:
        """Wait for the next commitments, weakest first; empty when the node refuses the subscription."""
        await self._woken.wait()
        self._woken.clear()
        seen, self._reached = self._reached, set()
        return [] if self._refused else [commitment for commitment in Commitment if commitment in seen]

    def notice(self, commitment: Commitment) -> None:
        """Take in that the signature reached `commitment`."""
        self._reached.add(commitment)
        self._woken.set()

    def refuse(self) -> None:
        """Take in that the node refuses a subscription."""
        self._refused = True
        self._woken.set()
