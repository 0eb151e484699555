"""The library's own test cases, on our log: recorders, factory, applications, projections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar
from unittest import TestCase

import pytest
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    ProcessRecorder,
    Tracking,
    TrackingRecorder,
)
from eventsourcing.tests import application, persistence, projection
from eventsourcing.utils import Environment

from adapters.eventsourcing.engine import Engine
from adapters.eventsourcing.factory import LogFactory
from adapters.eventsourcing.recorders import (
    LogAggregateRecorder,
    LogApplicationRecorder,
    LogProcessRecorder,
    LogTrackingRecorder,
)

MODULE = "adapters.eventsourcing.factory"
SUBSCRIPTION_SECONDS = 60  # the library's subscriptions wait for ever


class OnOurLog:
    """Gives each case factories over empty logs of its own, and closes them."""

    new_log: Callable[..., str]
    factories: list[LogFactory]

    @pytest.fixture(autouse=True)
    def _logs(self, new_log: Callable[..., str]) -> Iterator[None]:
        self.new_log, self.factories = new_log, []
        yield
        for factory in self.factories:
            factory.close()

    def new_factory(self) -> LogFactory:
        factory = LogFactory(Environment(env={"DAYBOOK_DATABASE_URL": self.new_log()}))
        self.factories.append(factory)
        return factory


class TestAggregateRecorder(OnOurLog, persistence.AggregateRecorderTestCase):
    """Sequences in the log."""

    def create_recorder(self) -> AggregateRecorder:
        return self.new_factory().aggregate_recorder()


class TestSnapshotRecorder(OnOurLog, persistence.AggregateRecorderTestCase):
    """The same promises of the snapshots beside it."""

    def create_recorder(self) -> AggregateRecorder:
        return self.new_factory().aggregate_recorder("snapshots")


class TestApplicationRecorder(OnOurLog, persistence.ApplicationRecorderTestCase[ApplicationRecorder]):
    """Notifications are the log by position, contiguous."""

    def create_recorder(self) -> ApplicationRecorder:
        return self.new_factory().application_recorder()

    @pytest.mark.timeout(SUBSCRIPTION_SECONDS)
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestTrackingRecorder(OnOurLog, persistence.TrackingRecorderTestCase):
    """Positions that only grow."""

    def create_recorder(self) -> TrackingRecorder:
        return self.new_factory().tracking_recorder()


class TestProcessRecorder(OnOurLog, persistence.ProcessRecorderTestCase):
    """Events and position in one transaction of the coalescing writer."""

    def create_recorder(self) -> ProcessRecorder:
        return self.new_factory().process_recorder()


class TestNonInterleaving(OnOurLog, persistence.NonInterleavingNotificationIDsBaseCase):
    """A thousand events of one insert stand together."""

    def create_recorder(self) -> ApplicationRecorder:
        return self.new_factory().application_recorder()


class MyTrackingRecorder(LogTrackingRecorder):
    """One that a user names."""


class TestFactory(OnOurLog, persistence.InfrastructureFactoryTestCase[LogFactory]):
    """Wiring by environment."""

    @pytest.fixture(autouse=True)
    def _environment(self, _logs: None) -> None:
        self.env = Environment(env={"PERSISTENCE_MODULE": MODULE, "DAYBOOK_DATABASE_URL": self.new_log()})

    def expected_factory_class(self) -> type[LogFactory]:
        return LogFactory

    def expected_aggregate_recorder_class(self) -> type[AggregateRecorder]:
        return LogAggregateRecorder

    def expected_application_recorder_class(self) -> type[ApplicationRecorder]:
        return LogApplicationRecorder

    def expected_tracking_recorder_class(self) -> type[TrackingRecorder]:
        return LogTrackingRecorder

    def tracking_recorder_subclass(self) -> type[TrackingRecorder]:
        return MyTrackingRecorder

    def expected_process_recorder_class(self) -> type[ProcessRecorder]:
        return LogProcessRecorder


class InTheEnvironment(OnOurLog, TestCase):
    """For cases that construct applications themselves."""

    @pytest.fixture(autouse=True)
    def _environment(self, _logs: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("PERSISTENCE_MODULE", MODULE)
        monkeypatch.setenv("DAYBOOK_DATABASE_URL", self.new_log(COUNTERS))
        opened: list[Engine] = []

        class Remembered(Engine):
            """An open log that is closed after its test: the library's cases leave theirs open."""

            def __init__(self, database_url: str) -> None:
                super().__init__(database_url)
                opened.append(self)

        monkeypatch.setattr("adapters.eventsourcing.factory.Engine", Remembered)
        yield
        for engine in opened:
            engine.close()


class TestExampleApplication(InTheEnvironment, application.ExampleApplicationTestCase):
    """Bank accounts, with snapshots."""

    expected_factory_topic = f"{MODULE}:LogFactory"


@pytest.mark.filterwarnings("default::DeprecationWarning")  # one of the cases expects such a warning
class TestApplications(InTheEnvironment, application.ApplicationTestCase):
    """Names, recordings, caches, a hundred threads on one aggregate."""


COUNTERS = """
CREATE TABLE counters (created bigint NOT NULL, subsequent bigint NOT NULL);
INSERT INTO counters VALUES (0, 0);
GRANT SELECT, UPDATE ON counters TO daybook_writer
"""


class EventCounters(LogTrackingRecorder, projection.EventCountersView):
    """A view of the library's example, whose counters commit with its position."""

    def get_created_event_counter(self) -> int:
        return int(self.query("SELECT created FROM counters")[0][0])

    def get_subsequent_event_counter(self) -> int:
        return int(self.query("SELECT subsequent FROM counters")[0][0])

    def incr_created_event_counter(self, tracking: Tracking) -> None:
        self.commit(tracking, [("UPDATE counters SET created = created + $1", [1])])

    def incr_subsequent_event_counter(self, tracking: Tracking) -> None:
        self.commit(tracking, [("UPDATE counters SET subsequent = subsequent + $1", [1])])


class TestEventCountersView(OnOurLog, projection.EventCountersViewTestCase):
    """Counters and position are one."""

    def construct_event_counters_view(self) -> projection.EventCountersView:
        factory = LogFactory(Environment(env={"DAYBOOK_DATABASE_URL": self.new_log(COUNTERS)}))
        self.factories.append(factory)
        return factory.tracking_recorder(EventCounters)  # type: ignore[return-value]  # the library names the base


class TestEventCountersProjection(InTheEnvironment, projection.AggregateEventCountersProjectionTestCase):
    """The library's runner, its application and its view, all on one log."""

    view_class = EventCounters
    env: ClassVar[dict[str, str]] = {}


class TestEventSourcedProjection(InTheEnvironment, projection.EventSourcedProjectionTestCase):
    """A projection that is itself an application: its log is its own, or it would count itself."""

    @pytest.fixture(autouse=True)
    def _two_logs(self, _environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COUNTERS_DAYBOOK_DATABASE_URL", self.new_log())
