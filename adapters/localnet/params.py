"""A JSON-RPC call's positional parameters, read with the node's own complaints."""

from __future__ import annotations

from base64 import b64decode
from typing import Any, Final

from solders.pubkey import Pubkey

from adapters.localnet.base58 import b58decode
from adapters.localnet.encoding import ENCODINGS, Json, parse_pubkey
from adapters.localnet.refusals import invalid_params
from domain.chain import Commitment

MAX_FILTERS: Final = 4
MAX_MEMCMP_BYTES: Final = 128
"""Limits of a node."""


class Params:
    """The `params` array of one call."""

    def __init__(self, raw: object) -> None:
        if raw is not None and not isinstance(raw, list):
            raise invalid_params("Invalid params: invalid type: map, expected a sequence.")
        self._raw: list[Any] = raw or []

    def __len__(self) -> int:
        return len(self._raw)

    def text(self, index: int) -> str:
        """A required string."""
        value = self._required(index)
        if not isinstance(value, str):
            raise invalid_params(f"Invalid params: invalid type: {_kind(value)}, expected a string.")
        return value

    def integer(self, index: int) -> int:
        """A required whole number, at least 0."""
        return _u64(self._required(index))

    def pubkey(self, index: int) -> Pubkey:
        """A required address."""
        return parse_pubkey(self.text(index))

    def texts(self, index: int, *, at_most: int) -> list[str]:
        """A required list of strings."""
        value = self._required(index)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise invalid_params(f"Invalid params: invalid type: {_kind(value)}, expected a sequence.")
        if len(value) > at_most:
            raise invalid_params(f"Too many inputs provided; max {at_most}")
        return value

    def mapping(self, index: int) -> Json:
        """A required object."""
        value = self._required(index)
        if not isinstance(value, dict):
            raise invalid_params(f"Invalid params: invalid type: {_kind(value)}, expected a map.")
        return value

    def value(self, index: int) -> Any:  # noqa: ANN401 - whatever JSON the caller sent
        """A required parameter of any type."""
        return self._required(index)

    def config(self, index: int) -> Config:
        """The optional configuration object."""
        value = self._raw[index] if index < len(self._raw) else None
        if value is not None and not isinstance(value, dict):
            raise invalid_params(f"Invalid params: invalid type: {_kind(value)}, expected a map.")
        return Config(value or {})

    def _required(self, index: int) -> Any:  # noqa: ANN401 - whatever JSON the caller sent
        if index >= len(self._raw):
            raise invalid_params(f"`params` should have at least {index + 1} argument(s)")
        return self._raw[index]


class Config:
    """A call's configuration object."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw

    def commitment(self, key: str = "commitment", default: Commitment = Commitment.FINALIZED) -> Commitment:
        """How sure the answer must be; nodes take finalized for none given."""
        value = self.raw.get(key)
        if value is None:
            return default
        try:
            return Commitment(value)
        except ValueError:
            raise invalid_params(
                f"Invalid params: unknown variant `{value}`, expected processed, confirmed or finalized."
            ) from None

    def text(self, key: str, default: str) -> str:
        """An optional string."""
        value = self.raw.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise invalid_params(f"Invalid params: invalid type: {_kind(value)}, expected a string.")
        return value

    def encoding(self, default: str) -> str:
        """How account data is to be written."""
        value = self.text("encoding", default)
        if value not in ENCODINGS:
            raise invalid_params(
                f"Invalid params: unknown variant `{value}`, expected one of {', '.join(ENCODINGS)}."
            )
        return value

    def flag(self, key: str) -> bool:
        """An optional boolean, false by default."""
        return self.raw.get(key) is True

    def integer(self, key: str) -> int | None:
        """An optional whole number."""
        value = self.raw.get(key)
        return None if value is None else _u64(value)

    def data_slice(self) -> tuple[int, int] | None:
        """The optional `dataSlice` as (offset, length)."""
        value = self.raw.get("dataSlice")
        if value is None:
            return None
        try:
            return _u64(value["offset"]), _u64(value["length"])
        except (KeyError, TypeError):
            raise invalid_params("Invalid params: dataSlice needs an offset and a length.") from None

    def filters(self) -> list[Filter]:
        """The optional account filters: `dataSize` and `memcmp`."""
        value = self.raw.get("filters") or []
        if not isinstance(value, list):
            raise invalid_params(f"Invalid params: invalid type: {_kind(value)}, expected a sequence.")
        if len(value) > MAX_FILTERS:
            raise invalid_params(f"Too many filters provided; max {MAX_FILTERS}")
        return [Filter(item) for item in value]


class Filter:
    """One account filter: an exact length, or bytes at an offset."""

    def __init__(self, raw: object) -> None:
        try:
            self._size, self._offset, self._bytes = _read_filter(raw)
        except (KeyError, TypeError, ValueError):
            raise invalid_params(f"Invalid params: {raw!r} is no dataSize or memcmp filter.") from None

    def matches(self, data: bytes) -> bool:
        """Whether an account's data passes."""
        if self._size is not None and len(data) != self._size:
            return False
        return data[self._offset : self._offset + len(self._bytes)] == self._bytes


def _read_filter(raw: object) -> tuple[int | None, int, bytes]:
    if isinstance(raw, dict) and "dataSize" in raw:
        return _u64(raw["dataSize"]), 0, b""
    if not isinstance(raw, dict):
        raise TypeError
    memcmp = raw["memcmp"]
    wanted, encoding = memcmp["bytes"], memcmp.get("encoding", "base58")
    if isinstance(wanted, list):
        sought = bytes(wanted)
    else:
        sought = b64decode(wanted, validate=True) if encoding == "base64" else b58decode(wanted)
    if len(sought) > MAX_MEMCMP_BYTES:
        raise ValueError
    return None, _u64(memcmp["offset"]), sought


def _u64(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
        raise invalid_params(f"Invalid params: invalid type: {_kind(value)}, expected u64.")
    return value


def _kind(value: object) -> str:
    names = {
        dict: "map",
        list: "sequence",
        str: "string",
        bool: "boolean",
        int: "integer",
        float: "floating point",
    }
    return names.get(type(value), "null")
