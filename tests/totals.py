"""A small read model for tests of rebuilds: how many events there were, twice, and whether both agree."""

from __future__ import annotations

from projections.ports import FoldEvent, Rows, Table
from projections.read_model import Keys, ReadModel, Step, columns

TOPICS = ("order.placed", "order.landed", "wallet.transferred")
TOTALS = Table("totals", columns(name="text", events="bigint"), key=("name",))
WIDER = Table("totals", columns(name="text", events="bigint", last="text"), key=("name",))


def keys(_event: FoldEvent) -> Keys:
    return (("totals", ("all",)), ("totals", ("half",)))


def count(rows: Rows, _event: FoldEvent) -> None:
    """Two rows that always agree: a reader who sees one without the other has seen half a batch."""
    for name in ("all", "half"):
        old = rows.get("totals", (name,))
        rows.put("totals", (name,), {"name": name, "events": 1 + (old["events"] if old else 0)})


def count_wider(rows: Rows, event: FoldEvent) -> None:
    count(rows, event)
    for name in ("all", "half"):
        row = rows.get("totals", (name,))
        assert row is not None
        rows.put("totals", (name,), {**row, "last": event.topic})


FIRST = ReadModel("totals", 1, (TOTALS,), dict.fromkeys(TOPICS, Step(keys, count)), halts_on_poison=True)
SECOND = ReadModel(
    "totals", 2, (WIDER,), dict.fromkeys(TOPICS, Step(keys, count_wider)), halts_on_poison=True
)


def raised(model: ReadModel, version: int) -> ReadModel:
    """The same read model under another version."""
    return ReadModel(model.name, version, model.tables, model.steps, model.halts_on_poison)


def restless(version: int) -> ReadModel:
    """A fold that counts how often it was called: no function of the log, two folds never agree."""
    calls = [0]

    def fold(rows: Rows, _event: FoldEvent) -> None:
        calls[0] += 1
        rows.put("totals", ("all",), {"name": "all", "events": calls[0]})

    steps = dict.fromkeys(TOPICS, Step(keys, fold))
    return ReadModel("totals", version, (TOTALS,), steps, halts_on_poison=True)
