"""An application of the eventsourcing library on daybook's log: save, load, and listen.

daybook migrate
DAYBOOK_DATABASE_URL=postgresql://... python examples/dogs.py
"""  # noqa: INP001 - a script, not a package

from __future__ import annotations

import sys
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event


class Dog(Aggregate):
    """Learns tricks."""

    @event("Registered")
    def __init__(self, name: str) -> None:
        self.name = name
        self.tricks: list[str] = []

    @event("TrickAdded")
    def add_trick(self, trick: str) -> None:
        """One more."""
        self.tricks.append(trick)


class Kennel(Application[UUID]):
    """Dogs, on the log."""

    env = {"PERSISTENCE_MODULE": "adapters.eventsourcing.factory"}  # noqa: RUF012 - as the library documents


def main() -> None:
    """Register a dog, teach it, and print what a subscriber hears."""
    with Kennel() as kennel:
        dog = Dog("Fido")
        dog.add_trick("roll over")
        recordings = kennel.save(dog)
        loaded: Dog = kennel.repository.get(dog.id)
        first, last = recordings[0].notification.id, recordings[-1].notification.id
        sys.stdout.write(f"{loaded.name} can {', '.join(loaded.tricks)}\n")
        with kennel.recorder.subscribe(gt=first - 1) as subscription:
            for notification in subscription:
                sys.stdout.write(f"{notification.id} {notification.topic}\n")
                if notification.id == last:
                    break


if __name__ == "__main__":
    main()
