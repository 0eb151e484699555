"""Turns yesterday's event data into today's shape while it is read; stored bytes are never touched.

A new schema version of `order.placed` registers a step from the version before:

    @upcaster("order.placed", from_version=1)
    def add_route(data: dict[str, Any]) -> None:
        data["route"] = "rpc"

and leaves its golden file of version 1 where it is (tests/golden).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from domain.errors import InvariantBroken

Step = Callable[[dict[str, Any]], None]
"""Changes decoded data in place, from one schema version to the next."""

UPCASTERS: Final[dict[tuple[str, int], Step]] = {}
"""By topic and the version the step starts from."""


def upcaster(topic: str, *, from_version: int) -> Callable[[Step], Step]:
    """Register the step from `from_version` to the next.

    Raises:
        InvariantBroken: when that step exists already.
    """

    def register(step: Step) -> Step:
        if UPCASTERS.setdefault((topic, from_version), step) is not step:
            raise InvariantBroken(
                f"event type {topic!r} has two upcasters from version {from_version}: keep one"
            )
        return step

    return register


def upcast(cls: type[Any], topic: str, data: dict[str, Any], from_version: int) -> None:
    """Bring decoded data to the version of `cls`, step by step.

    A step stands in the registry, or on the class as `upcast_vN_vM`, as the `eventsourcing` library has it.

    Raises:
        LookupError: when a step is missing.
    """
    for version in range(from_version, getattr(cls, "class_version", 1)):
        step = UPCASTERS.get((topic, version)) or getattr(cls, f"upcast_v{version}_v{version + 1}", None)
        if step is None:
            raise LookupError(f"no upcaster of {topic!r} from version {version}")
        step(data)


@upcaster("note.written", from_version=1)
def _add_label_and_client_address(data: dict[str, Any]) -> None:
    data["label"] = data["client_address"] = None
