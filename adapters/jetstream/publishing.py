"""Publishes runs of messages to JetStream, each as one atomic batch: all of it in order, or nothing.

A batch costs one acknowledgement and one sync, whatever its size, so it is what makes a refill quick. nats-py
knows the headers of atomic batches (ADR-50) but has no publisher of them, and checks every header by itself,
which costs more than the rest: the commands are put together here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from domain.errors import DeliveryError

MAX_BATCH: Final = 1_000
"""Messages of one batch; nats-server takes no more."""

MAX_BATCH_BYTES: Final = 4_000_000
"""So that a few batches of the largest events stay small in memory, here and in the server."""


class Message(NamedTuple):
    """One message: its subject, its headers as they travel (each line ended by CRLF) and its bytes."""

    subject: str
    headers: bytes
    data: bytes


class Ack(msgspec.Struct):
    """What JetStream says of a publication: the sequence of its last message, or an error."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    count: int = 0
    error: dict[str, int | str] | None = None


_ack_of: Final = msgspec.json.Decoder(Ack).decode


class Publisher(Client):
    """A NATS connection that can publish batches."""

    def __init__(self) -> None:
        super().__init__()
        self._inbox = ""
        self._acks: dict[str, asyncio.Future[Ack]] = {}
        self._batches = 0

    async def publish_run(
        self, stream: str, last_sequence: int, messages: Sequence[Message]
    ) -> asyncio.Future[Ack]:
        """Send messages in order; the future is the answer to all of them, and fails when they are refused.

        Args:
            stream: the stream that must take them.
            last_sequence: the stream must end with it, or nothing is taken.
            messages: one up to `MAX_BATCH`.
        """
        if not self._inbox:
            self._inbox = self.new_inbox()
            await self.subscribe(f"{self._inbox}.*", cb=self._acknowledged)
        self._batches += 1
        reply = f"{self._inbox}.{self._batches}"
        ack = self._acks[reply] = asyncio.get_running_loop().create_future()
        ack.add_done_callback(lambda _ack: self._acks.pop(reply, None))
        await self._send_command(_commands(stream, last_sequence, messages, reply))
        await self._flush_pending()
        return ack

    async def _acknowledged(self, message: Msg) -> None:
        ack = self._acks.get(message.subject)
        if ack is None or ack.done():
            return
        try:
            answer = _ack_of(message.data)
        except msgspec.MsgspecError:
            ack.set_exception(DeliveryError(f"no stream took the message: {message.headers}"))
            return
        if answer.error is not None:
            ack.set_exception(DeliveryError(f"JetStream refused: {answer.error.get('description')}"))
        else:
            ack.set_result(answer)


def _commands(stream: str, last_sequence: int, messages: Sequence[Message], reply: str) -> bytes:
    """The protocol's lines for a run of messages; only the last one asks for an answer."""
    fence = f"Nats-Expected-Stream: {stream}\r\nNats-Expected-Last-Sequence: {last_sequence}\r\n".encode()
    end = len(messages)
    if end == 1:
        return _command(messages[0], fence, reply)
    name = f"Nats-Batch-Id: {reply[-64:]}\r\nNats-Batch-Sequence: ".encode()
    parts = [_command(messages[0], b"%b%b1\r\n" % (fence, name))]
    parts += [
        _command(message, b"%b%d\r\n" % (name, number)) for number, message in enumerate(messages[1:-1], 2)
    ]
    parts.append(_command(messages[-1], b"%b%d\r\nNats-Batch-Commit: 1\r\n" % (name, end), reply))
    return b"".join(parts)


def _command(message: Message, more_headers: bytes, reply: str = "") -> bytes:
    subject, headers, data = message
    headers = b"NATS/1.0\r\n%b%b\r\n" % (headers, more_headers)
    size = len(headers)
    return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (
        subject.encode(), reply.encode(), size, size + len(data), headers, data,
    )  # fmt: skip
