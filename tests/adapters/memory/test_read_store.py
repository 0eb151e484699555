"""What only a store in memory can get wrong: sharing its rows with those who read or wrote them."""

from __future__ import annotations

from adapters.memory.read_store import MemoryReadStore
from projections.ports import Rows, Table
from projections.read_model import ReadModel, columns

TABLE = Table("things", columns(name="text", notes="json"), key=("name",))
MODEL = ReadModel("memory", 1, (TABLE,), {}, halts_on_poison=True)


async def test_what_is_changed_outside_does_not_change_what_is_kept() -> None:
    store, notes = MemoryReadStore(), [1]
    live = await store.prepare(MODEL)
    await store.commit(
        live, Rows(changed={("things", ("a",)): {"name": "a", "notes": notes}}), before=0, after=1
    )
    notes.append(2)
    (await store.select(MODEL, "things")).rows[0]["notes"].append(3)
    (await store.fetch(live, [("things", ("a",))])).fetched["things", ("a",)]["notes"].append(4)
    assert (await store.select(MODEL, "things")).rows == [{"name": "a", "notes": [1]}]
