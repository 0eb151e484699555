"""`walletBalances`: what each wallet holds, by the log."""

from __future__ import annotations

from typing import Self

import strawberry

from api.graphql.common import MinPosition, big
from api.graphql.context import Info
from api.graphql.scalars import BigInt
from projections import wallet_balances as read_model


@strawberry.type(description="One wallet's holding of one mint, base units; mint `native` is lamports.")
class WalletBalance:
    """One wallet's holding of one mint."""

    wallet: str
    mint: str
    balance: BigInt = strawberry.field(description="What the log says the wallet holds.")
    reserved: BigInt = strawberry.field(description="Set aside for open orders.")
    available: BigInt = strawberry.field(description="What a new order may count on.")
    discrepancy: bool = strawberry.field(description="The chain was found to disagree: the wallet is halted.")
    actual: BigInt | None = strawberry.field(description="What the chain held when it disagreed.")
    updated_position: BigInt
    updated_slot: BigInt | None

    @classmethod
    def of(cls, held: read_model.WalletBalance) -> Self:
        """From the read model."""
        return cls(
            wallet=held.wallet,
            mint=held.mint,
            balance=BigInt(held.balance),
            reserved=BigInt(held.reserved),
            available=BigInt(held.available),
            discrepancy=held.discrepancy,
            actual=big(held.actual),
            updated_position=BigInt(held.updated_position),
            updated_slot=big(held.updated_slot),
        )


@strawberry.type(description="Balances by wallet and mint.")
class WalletBalances:
    """Balances and the position they reflect."""

    balances: list[WalletBalance]
    as_of_position: BigInt = strawberry.field(description="The log position this answer reflects.")


async def wallet_balances(
    info: Info, wallet: str | None = None, min_position: MinPosition = None
) -> WalletBalances:
    """The balances of one wallet by its address, or of all."""
    await info.context.wait_for(read_model.NAME, min_position)
    found = await read_model.wallet_balances(info.context.services.reads, wallet)
    info.context.budget.charge(len(found.balances))
    return WalletBalances(
        balances=[WalletBalance.of(held) for held in found.balances], as_of_position=BigInt(found.position)
    )
