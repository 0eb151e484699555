"""The words between a stack's supervisor and its users: one JSON object per line on a unix socket.

A user that stays connected after `attach` keeps the servers alive; the kernel closes the connection of a
process that dies, however it dies, so nobody has to be asked whether they are still there.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

LINE_BYTES = 64 * 1024  # an answer with three URLs and three servers is about 1 KB


def send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    """Send one message; OSError when the other side is gone."""
    connection.sendall(json.dumps(message).encode() + b"\n")


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """Read one message; None when the other side closed. Each side waits for the other's answer."""
    received = b""
    while not received.endswith(b"\n") and len(received) < LINE_BYTES:
        part = connection.recv(4096)
        if not part:
            return None
        received += part
    message: dict[str, Any] = json.loads(received)
    return message
