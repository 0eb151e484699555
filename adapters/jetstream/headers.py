"""The envelope of an event as the headers of its message: the relay writes them, a consumer reads them."""

from __future__ import annotations

from uuid import UUID

from nats.aio.msg import Msg
from nats.js.api import Header

from adapters.postgres.rows import StoredEvent
from domain.errors import DeliveryError


def headers_of(row: StoredEvent) -> bytes:
    """Whoever copies the message can tell which event it is, and where it stands."""
    cause = "" if row.causation_id is None else f"Daybook-Causation-Id: {row.causation_id}\r\n"
    slot = "" if row.slot is None else f"Daybook-Slot: {row.slot}\r\n"
    return (
        f"{Header.MSG_ID.value}: {row.event_id}\r\n"
        f"Daybook-Position: {row.position}\r\n"
        f"Daybook-Stream: {row.stream}\r\n"
        f"Daybook-Version: {row.version}\r\n"
        f"Daybook-Type: {row.topic}\r\n"
        f"Daybook-Schema-Version: {row.class_version}\r\n"
        f"Daybook-Recorded-At: {row.recorded_at}\r\n"
        f"Daybook-Correlation-Id: {row.correlation_id}\r\n"
        f"Daybook-Actor: {row.actor}\r\n{cause}{slot}"
    ).encode()


def row_of(message: Msg) -> StoredEvent:
    """The row a message carries, from its bytes and its headers; without the hash, which does not travel.

    Raises:
        DeliveryError: the relay did not write it.
    """
    headers = message.headers or {}
    causation, slot = headers.get("Daybook-Causation-Id"), headers.get("Daybook-Slot")
    try:
        return StoredEvent(
            int(headers["Daybook-Position"]),
            headers["Daybook-Stream"],
            int(headers["Daybook-Version"]),
            headers["Daybook-Type"],
            int(headers["Daybook-Schema-Version"]),
            int(headers["Daybook-Recorded-At"]),
            UUID(headers[Header.MSG_ID.value]),
            None if causation is None else UUID(causation),
            UUID(headers["Daybook-Correlation-Id"]),
            headers["Daybook-Actor"],
            None if slot is None else int(slot),
            message.data,
            b"",
        )
    except (KeyError, ValueError) as error:
        raise DeliveryError(
            f"message {message.metadata.sequence.stream} of stream {message.metadata.stream} is not "
            f"one of the relay's: {error!r}; its subjects belong to the relay alone"
        ) from error
