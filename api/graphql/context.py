"""What the resolvers of one request share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import strawberry

from api.limits import WAIT_S, Budget
from api.services import ApiServices
from domain.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request's services and budget."""

    services: ApiServices
    budget: Budget = field(default_factory=Budget)

    async def wait_for(self, read_model: str, position: int | None) -> None:
        """Read your own writes: wait until the read model has absorbed `position`.

        Raises:
            ReadModelBehind: it has not within `WAIT_S`.
            InvalidInput: the position is not in the log yet.
        """
        if position is None:
            return
        head = await self.services.log.head()
        if position > head:
            raise InvalidInput(f"`minPosition` is {position}, but the log ends at {head}: no read model can")
        await self.services.reads.wait_for(read_model, position, WAIT_S)


Info: TypeAlias = strawberry.Info[RequestContext, None]
