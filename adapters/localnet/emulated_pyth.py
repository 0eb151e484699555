"""Pyth's push oracle told in Python: `update_price_feed`, which writes a sponsored feed's price account.

On the real chain guardians of another chain sign each price. Here is no such chain: the network's own
publisher signs, and nobody else's update is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM

from adapters.localnet import anchor
from adapters.localnet.anchor import ErrorNames, error_log
from adapters.localnet.emulated_swap import rewritten
from adapters.localnet.emulation import Call, Plan, Refusal, Stop
from adapters.localnet.transaction_error import custom
from adapters.solana.programs import pyth
from adapters.solana.programs.layout import anchor_instruction
from adapters.solana.programs.pyth import PriceUpdate
from domain.errors import DecodeError

UPDATES_NOT_MONOTONIC: Final = 6000
PRICE_FEED_MESSAGE_MISMATCH: Final = 6001
INSUFFICIENT_GUARDIAN_SIGNATURES: Final = 6015
"""The receiver's, which the push oracle calls and passes on."""

UPDATE_PRICE_FEED: Final = anchor_instruction("update_price_feed")

_NAMES: Final[ErrorNames] = {
    UPDATES_NOT_MONOTONIC: ("UpdatesNotMonotonic", "Updates must be monotonically increasing"),
    PRICE_FEED_MESSAGE_MISMATCH: (
        "PriceFeedMessageMismatch",
        "Trying to update price feed with the wrong feed id",
    ),
    INSUFFICIENT_GUARDIAN_SIGNATURES: (
        "InsufficientGuardianSignatures",
        "The number of guardian signatures is below the minimum",
    ),
}
_MESSAGE: Final = Struct(">B32sqQiqqqQ")  # big-endian, as Pyth signs it; 0 is a price feed message
_LENGTH: Final = Struct("<I")
_TAIL: Final = Struct("<IBH32s")  # no proof hashes, treasury, shard, feed id
_UNITS: Final = 30_000


@dataclass(frozen=True, slots=True)
class Price:
    """What is published of a feed: values times 10^`exponent`, times in seconds."""

    feed_id: bytes
    price: int
    conf: int
    exponent: int
    publish_time: int
    prev_publish_time: int
    ema_price: int
    ema_conf: int


def update_price_feed(publisher: Pubkey, price: Price, shard: int = 0) -> Instruction:
    """Build the update of a sponsored feed."""
    message = _MESSAGE.pack(
        0,
        price.feed_id,
        price.price,
        price.conf,
        price.exponent,
        price.publish_time,
        price.prev_publish_time,
        price.ema_price,
        price.ema_conf,
    )
    data = UPDATE_PRICE_FEED + _LENGTH.pack(len(message)) + message + _TAIL.pack(0, 0, shard, price.feed_id)
    derived = [
        Pubkey.find_program_address(seeds, pyth.RECEIVER_ID)[0]
        for seeds in ([b"encoded_vaa"], [b"config"], [b"treasury", b"\x00"])
    ]
    vaa, config, treasury = derived
    metas = [
        AccountMeta(publisher, is_signer=True, is_writable=True),
        AccountMeta(pyth.RECEIVER_ID, is_signer=False, is_writable=False),
        AccountMeta(vaa, is_signer=False, is_writable=False),
        AccountMeta(config, is_signer=False, is_writable=False),
        AccountMeta(treasury, is_signer=False, is_writable=True),
        AccountMeta(pyth.feed_address(price.feed_id, shard), is_signer=False, is_writable=True),
        AccountMeta(SYSTEM_PROGRAM, is_signer=False, is_writable=False),
    ]
    return Instruction(pyth.PUSH_ORACLE_ID, data, metas)


class EmulatedPyth:
    """The push oracle; `publisher` stands for the guardians, None until genesis names one."""

    def __init__(self) -> None:
        self.publisher: Pubkey | None = None

    def plan(self, call: Call) -> Plan | Refusal:
        """Check the update and say what the price account then holds."""
        try:
            return self._plan(call)
        except Stop as stop:
            return Refusal("UpdatePriceFeed", stop.error, error_log(stop.error, _NAMES))

    def _plan(self, call: Call) -> Plan:
        price, shard = anchor.arguments(_decode, call.instruction.data, (UPDATE_PRICE_FEED,))
        metas = call.instruction.accounts
        wanted = update_price_feed(metas[0].pubkey if metas else Pubkey.default(), price, shard).accounts
        anchor.require_same(metas, wanted, {5: anchor.CONSTRAINT_SEEDS})
        if metas[0].pubkey != self.publisher:
            raise Stop(custom(INSUFFICIENT_GUARDIAN_SIGNATURES))
        key = metas[5].pubkey
        account = anchor.owned(call, key, pyth.RECEIVER_ID)
        before = anchor.decoded(pyth.decode_price_update, account)
        if before.feed_id != price.feed_id:
            raise Stop(custom(PRICE_FEED_MESSAGE_MISMATCH))
        if price.publish_time <= before.publish_time:
            raise Stop(custom(UPDATES_NOT_MONOTONIC))
        written = rewritten(account, pyth.encode_price_update(price_account(price, call.slot, shard)))
        return Plan("UpdatePriceFeed", (), ((key, written),), _UNITS)


def price_account(price: Price, slot: int, shard: int = 0) -> PriceUpdate:
    """Give what a sponsored feed's account holds after an update, verified in full."""
    return PriceUpdate(
        pyth.feed_address(price.feed_id, shard),
        None,
        price.feed_id,
        price.price,
        price.conf,
        price.exponent,
        price.publish_time,
        price.prev_publish_time,
        price.ema_price,
        price.ema_conf,
        slot,
    )


def _decode(data: bytes) -> tuple[Price, int]:
    at = len(UPDATE_PRICE_FEED) + _LENGTH.size
    if len(data) != at + _MESSAGE.size + _TAIL.size:
        raise DecodeError(f"decoding a Pyth price update: found {len(data)} bytes")
    variant, *values = _MESSAGE.unpack_from(data, at)
    proof, _, shard, feed_id = _TAIL.unpack_from(data, at + _MESSAGE.size)
    if variant or proof or values[0] != feed_id:
        raise DecodeError("decoding a Pyth price update: it is of another message, or carries a proof")
    return Price(*values), shard
