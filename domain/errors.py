"""Every error daybook raises, in one tree.

    DaybookError                      something daybook promised could not be kept
    ├── SetupError                    a setting, a folder or a server is not as needed            exit 2
    ├── InvalidInput                  an argument, file or message is not what was asked for      exit 2
    │   ├── DecodeError               bytes from the chain or the log do not have the shape
    │   └── QuoteError                a pool cannot give this quote
    │       ├── NoRoute               no pools lead from one token to the other for this amount
    │       ├── UnknownMint           no pool in the book trades this token
    │       └── StalePool             what is known of the pools is too old to quote
    ├── LogError                      the event log refused or could not answer
    │   ├── ConcurrencyError          the stream is not at the version the writer decided on
    │   ├── FencedOut                 another process holds a newer lease
    │   ├── AlreadyTracked            a follower has processed this position, or a later one, before
    │   ├── LogUnavailable            the log's database is away: nothing is known to be written
    │   └── LogCorrupt                the record does not verify
    ├── ProjectionError               a read model could not be folded, stored or answered
    │   ├── PoisonEvent               an event cannot be folded, and the read model halts on it
    │   ├── CheckpointMoved           another process folds the same read model
    │   ├── ProjectionPaused          somebody paused the read model
    │   ├── RebuildUnderWay           another process rebuilds the read model
    │   ├── Superseded                a newer version of the read model answers
    │   ├── NotServedYet              the version that answers lacks what the new one will have
    │   ├── ReadStoreUnavailable      the read models' database is away: nothing is known to be written
    │   └── ReadModelBehind           the read model has not reached the position that was asked for
    ├── DeliveryError                 JetStream refused what the relay must deliver
    ├── CacheUnavailable              Valkey is away: nothing is lost, it only answers from memory
    ├── ChainError                    the Solana node refused, or answered an error
    │   └── ChainUnavailable          no answer: the outcome is unknown
    └── InvariantBroken               a rule of the domain was about to be broken

Each message is a sentence for the person at 3 a.m.: what was attempted, what was found, what to do.
A domain decision that says no returns a value or an event; exceptions are for broken promises.
"""

from __future__ import annotations


class DaybookError(Exception):
    """Something daybook promised could not be kept."""


class SetupError(DaybookError):
    """A setting, a folder or a server is not as needed."""


class InvalidInput(DaybookError):
    """An argument, file or message is not what was asked for."""


class DecodeError(InvalidInput):
    """Bytes from the chain or the log do not have the shape their owner gives them."""


class QuoteError(InvalidInput):
    """A pool cannot give this quote."""


class NoRoute(QuoteError):
    """No pools lead from one token to the other for this amount."""


class UnknownMint(QuoteError):
    """No pool in the book trades this token."""


class StalePool(QuoteError):
    """What is known of the pools is too old to quote: sight of them was lost."""


class LogError(DaybookError):
    """The event log refused or could not answer."""


class ConcurrencyError(LogError):
    """The stream is not at the version the writer decided on.

    Attributes:
        stream: the stream that had moved.
        expected: the version the writer decided on.
        actual: the version found.
    """

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        super().__init__(
            f"append to stream {stream!r} expected version {expected} but found {actual}: "
            "load the stream again and decide anew"
        )
        self.stream = stream
        self.expected = expected
        self.actual = actual


class FencedOut(LogError):
    """Another process holds a newer lease.

    Attributes:
        lease: the lease's name.
        epoch: the epoch the refused writer held.
        current: the epoch found.
    """

    def __init__(self, lease: str, epoch: int, current: int) -> None:
        super().__init__(
            f"lease {lease!r} is at epoch {current} but this process holds epoch {epoch}: "
            "another process took over; stop this one"
        )
        self.lease = lease
        self.epoch = epoch
        self.current = current


class AlreadyTracked(LogError):
    """A follower has processed this position, or a later one, before."""

    def __init__(self, name: str, position: int, found: int) -> None:
        super().__init__(
            f"follower {name!r} was to be moved to position {position} but stands at {found}: "
            "what it made of that position is in the log already; go on after it"
        )


class LogUnavailable(LogError):
    """The log's database is away: nothing is known to be written; retry with the same append id."""


class LogCorrupt(LogError):
    """The record does not verify.

    Attributes:
        position: the first bad position.
    """

    def __init__(self, position: int, found: str) -> None:
        super().__init__(
            f"the log does not verify at position {position}: {found}; "
            "restore the row from a backup or an archive, do not append on top of it"
        )
        self.position = position


class ProjectionError(DaybookError):
    """A read model could not be folded, stored or answered."""


class PoisonEvent(ProjectionError):
    """An event cannot be folded, and the read model halts on it rather than show wrong numbers."""


class CheckpointMoved(ProjectionError):
    """Another process folds the same read model: nothing was written; read the checkpoint again."""


class ProjectionPaused(ProjectionError):
    """Somebody paused the read model: nothing was written; it goes on when it is resumed."""


class RebuildUnderWay(ProjectionError):
    """Another process rebuilds the same read model."""


class Superseded(ProjectionError):
    """A newer version of the read model answers than this code folds."""


class NotServedYet(ProjectionError):
    """The version that answers lacks what was asked for; the new one, which has it, is still being built."""


class ReadStoreUnavailable(ProjectionError):
    """The read models' database is away: nothing is known to be written; the same batch may be retried."""


class ReadModelBehind(ProjectionError):
    """The read model has not reached the position that was asked for.

    Attributes:
        checkpoint: the position it has reached.
    """

    def __init__(self, name: str, asked: int, checkpoint: int, timeout_s: float) -> None:
        super().__init__(
            f"{name} was asked for position {asked} and stands at {checkpoint} after {timeout_s:g} s: "
            "ask again, or look at its lag in /health"
        )
        self.checkpoint = checkpoint


class DeliveryError(DaybookError):
    """JetStream refused what the relay must deliver."""


class CacheUnavailable(DaybookError):
    """Valkey is away. Nothing is lost: what it holds is a copy, written again when it is back."""


class ChainError(DaybookError):
    """The Solana node refused a request or answered an error.

    Attributes:
        code: the JSON-RPC error code, where there is one.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class ChainUnavailable(ChainError):
    """No answer from the node: the outcome of the request is unknown."""


class InvariantBroken(DaybookError):
    """A rule of the domain was about to be broken; nothing was changed."""
