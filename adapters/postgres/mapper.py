"""The `eventsourcing` library's Mapper over our codec, so that its own tools read and write our bytes.

For the library's Application, repositories and offline scripts: `MAPPER_TOPIC` names this class.
The log itself calls the codec directly. Stored states differ from the log's `data` in one thing only: the
library has no column for a schema version above 1, so it stands in the state as `class_version`, where the
library's own mapper puts it.
"""

from __future__ import annotations

from typing import Any, Generic, cast
from uuid import UUID

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import (
    Cipher,
    Compressor,
    JSONTranscoder,
    Mapper,
    StoredEvent,
    Transcoder,
    find_id_convertor,
)
from eventsourcing.persistence import MapperDeserialisationError as CannotRead
from eventsourcing.utils import TopicError, get_topic, resolve_topic
from typing_extensions import TypeVar

from adapters.postgres.codec import codec_for, decode_as, join_version, split_version
from domain.events import EVENT_TYPES

AggregateId = TypeVar("AggregateId", bound=UUID | str, default=UUID | str)


class LogMapper(Mapper[AggregateId], Generic[AggregateId]):
    """Stable type names, msgspec JSON, upcasting by registry or by the library's convention.

    Args:
        transcoder: accepted as the library's factory passes one; the codec does its work.
        compressor: optional, applied to the JSON.
        cipher: optional, applied last.
    """

    def __init__(
        self,
        transcoder: Transcoder | None = None,
        compressor: Compressor | None = None,
        cipher: Cipher | None = None,
    ) -> None:
        super().__init__(transcoder or JSONTranscoder(), compressor, cipher)

    def to_stored_event(self, domain_event: DomainEventProtocol[AggregateId]) -> StoredEvent:
        """The event as the library stores it."""
        cls = type(domain_event)
        state = codec_for(cls).encode(domain_event)
        state = join_version(state, getattr(cls, "class_version", 1))
        if self.compressor:
            state = self.compressor.compress(state)
        if self.cipher:
            state = self.cipher.encrypt(state)
        return StoredEvent(domain_event.originator_id, domain_event.originator_version, get_topic(cls), state)

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[AggregateId]:
        """The event in today's shape.

        Raises:
            MapperDeserialisationError: unknown type, or bytes that do not fit it.
        """
        try:
            return cast("DomainEventProtocol[AggregateId]", self._decode(stored_event))
        except (msgspec.MsgspecError, TopicError, LookupError, TypeError, ValueError) as error:
            raise CannotRead(
                f"event {stored_event.topic!r}, version {stored_event.originator_version} of "
                f"{stored_event.originator_id!r}, cannot be decoded: {error}"
            ) from error

    def _decode(self, stored: StoredEvent) -> Any:  # noqa: ANN401 - any event class
        cls: type[Any] = EVENT_TYPES.get(stored.topic) or resolve_topic(stored.topic)
        state = stored.state
        if self.cipher:
            state = self.cipher.decrypt(state)
        if self.compressor:
            state = self.compressor.decompress(state)
        class_version, state = split_version(state)
        convert = find_id_convertor(cast("Any", cls), cast("Any", type(stored.originator_id)))
        originator_id = convert(stored.originator_id)
        return decode_as(cls, stored.topic, class_version, state, originator_id, stored.originator_version)
