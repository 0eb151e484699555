"""What the read side needs from the world: the log to read, and a store of rows with their checkpoint."""

from projections.ports.folds import FoldEvent, Positioned, Projection, table_of
from projections.ports.generations import DeadLetter, Generation, LetterState, State
from projections.ports.log import EventReader, EventSource
from projections.ports.queries import OPERATORS, Condition, Selected, check_order
from projections.ports.store import DeadLetters, ReadStore, Snapshot
from projections.ports.tables import Column, Key, Row, Rows, Table

__all__ = [
    "OPERATORS",
    "Column",
    "Condition",
    "DeadLetter",
    "DeadLetters",
    "EventReader",
    "EventSource",
    "FoldEvent",
    "Generation",
    "Key",
    "LetterState",
    "Positioned",
    "Projection",
    "ReadStore",
    "Row",
    "Rows",
    "Selected",
    "Snapshot",
    "State",
    "Table",
    "check_order",
    "table_of",
]
