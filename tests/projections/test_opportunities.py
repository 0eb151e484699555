"""What became of each opportunity."""

from __future__ import annotations

from builders import History, Story
from list_log import ListLog

from adapters.memory.read_store import MemoryReadStore
from projections import opportunities
from projections.opportunities import Opportunity, OpportunityStatus
from projections.runner import ProjectionRunner


async def test_it_is_found_then_declined_or_ordered() -> None:
    history = History()
    found = Story(history, "found").found()
    declined = Story(history, "declined").found().declined("insufficient_funds")
    ordered = Story(history, "ordered").found().placed()
    store = MemoryReadStore()
    await ProjectionRunner(opportunities.READ_MODEL, ListLog(history.events), store).catch_up()

    page = await opportunities.opportunities(store)
    assert [one.opportunity_id for one in page.items] == [
        story.opportunity_id for story in (ordered, declined, found)
    ]
    by_name: dict[OpportunityStatus, Opportunity] = {one.status: one for one in page.items}
    assert by_name[OpportunityStatus.DECLINED].reason == "insufficient_funds"
    assert by_name[OpportunityStatus.ORDERED].order_id == ordered.order_id
    assert by_name[OpportunityStatus.FOUND].legs == found.legs
    assert await opportunities.opportunity_counts(store) == {"found": 1, "declined": 1, "ordered": 1}
    assert await opportunities.opportunity(store, "none") is None


async def test_a_decline_out_of_nowhere_is_set_aside_and_the_rest_go_on() -> None:
    """It holds no money: one bad event must not hide the others."""
    history, store = History(), MemoryReadStore()
    lost = Story(history, "lost")
    lost.last = history.market()
    lost.declined()
    Story(history, "found").found()
    runner = ProjectionRunner(opportunities.READ_MODEL, ListLog(history.events), store)
    assert await runner.catch_up() == len(history.events)
    assert await opportunities.opportunity_counts(store) == {"found": 1}
    assert [letter.topic for letter in await store.dead_letters()] == ["opportunity.declined"]
