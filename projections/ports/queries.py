"""What can be asked of a read model's rows, and what an answer is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from domain.errors import InvalidInput
from projections.ports.tables import Row, Table

OPERATORS: Final = ("=", "<", "<=", ">", ">=", "in")


@dataclass(frozen=True, slots=True)
class Condition:
    """`column` `operator` `value`; an empty column meets no condition.

    Raises:
        InvalidInput: the operator is none of `OPERATORS`.
    """

    column: str
    operator: str
    value: Any

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise InvalidInput(f"operator {self.operator!r} is unknown: use one of {', '.join(OPERATORS)}")


def check_order(table: Table, order_by: Sequence[tuple[str, bool]], after: Mapping[str, Any] | None) -> None:
    """Whether rows can be ordered like this and a page can go on behind `after`.

    Raises:
        InvalidInput: an unknown column, one that may be empty, or an `after` that does not fit the order.
    """
    for name, _ in order_by:
        if table.column(name).nullable:
            raise InvalidInput(f"rows cannot be ordered by {name!r}, which may be empty")
    names = [name for name, _ in order_by]
    if after is not None and (set(after) != set(names) or not names):
        raise InvalidInput(f"a page behind {dict(after)!r} needs exactly the columns of its order: {names}")


@dataclass(frozen=True, slots=True)
class Selected:
    """Rows and the position they reflect, read in one snapshot.

    Attributes:
        rows: in the order asked for.
        position: the read model's checkpoint at that moment.
    """

    rows: list[Row]
    position: int
