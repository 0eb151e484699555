"""Every read model by its name: what the services fold and the command line looks after."""

from __future__ import annotations

from typing import Final

from domain.errors import InvalidInput
from projections import opportunities, pnl, stories, trade_history, wallet_balances
from projections.read_model import ReadModel

READ_MODELS: Final[tuple[ReadModel, ...]] = tuple(
    module.READ_MODEL for module in (wallet_balances, pnl, trade_history, opportunities, stories)
)


def named(name: str | None) -> tuple[ReadModel, ...]:
    """The read model of that name, or all of them.

    Raises:
        InvalidInput: there is none.
    """
    found = tuple(model for model in READ_MODELS if name in (None, model.name))
    if not found:
        known = ", ".join(model.name for model in READ_MODELS)
        raise InvalidInput(f"there is no read model {name!r}: it is one of {known}")
    return found
