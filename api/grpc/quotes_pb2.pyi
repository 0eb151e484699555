from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODE_UNSPECIFIED: _ClassVar[Mode]
    MODE_EXACT_IN: _ClassVar[Mode]
    MODE_EXACT_OUT: _ClassVar[Mode]
MODE_UNSPECIFIED: Mode
MODE_EXACT_IN: Mode
MODE_EXACT_OUT: Mode

class QuoteRequest(_message.Message):
    __slots__ = ("input_mint", "output_mint", "amount", "mode", "max_legs", "max_parts")
    INPUT_MINT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_MINT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    MAX_LEGS_FIELD_NUMBER: _ClassVar[int]
    MAX_PARTS_FIELD_NUMBER: _ClassVar[int]
    input_mint: str
    output_mint: str
    amount: int
    mode: Mode
    max_legs: int
    max_parts: int
    def __init__(self, input_mint: _Optional[str] = ..., output_mint: _Optional[str] = ..., amount: _Optional[int] = ..., mode: _Optional[_Union[Mode, str]] = ..., max_legs: _Optional[int] = ..., max_parts: _Optional[int] = ...) -> None: ...

class Leg(_message.Message):
    __slots__ = ("pool", "protocol", "input_mint", "output_mint", "amount_in", "amount_out", "fee_in", "fee_out", "price_impact_ppm", "slot")
    POOL_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    INPUT_MINT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_MINT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_IN_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_OUT_FIELD_NUMBER: _ClassVar[int]
    FEE_IN_FIELD_NUMBER: _ClassVar[int]
    FEE_OUT_FIELD_NUMBER: _ClassVar[int]
    PRICE_IMPACT_PPM_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    pool: str
    protocol: str
    input_mint: str
    output_mint: str
    amount_in: int
    amount_out: int
    fee_in: int
    fee_out: int
    price_impact_ppm: int
    slot: int
    def __init__(self, pool: _Optional[str] = ..., protocol: _Optional[str] = ..., input_mint: _Optional[str] = ..., output_mint: _Optional[str] = ..., amount_in: _Optional[int] = ..., amount_out: _Optional[int] = ..., fee_in: _Optional[int] = ..., fee_out: _Optional[int] = ..., price_impact_ppm: _Optional[int] = ..., slot: _Optional[int] = ...) -> None: ...

class Path(_message.Message):
    __slots__ = ("amount_in", "amount_out", "legs")
    AMOUNT_IN_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_OUT_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    amount_in: int
    amount_out: int
    legs: _containers.RepeatedCompositeFieldContainer[Leg]
    def __init__(self, amount_in: _Optional[int] = ..., amount_out: _Optional[int] = ..., legs: _Optional[_Iterable[_Union[Leg, _Mapping]]] = ...) -> None: ...

class Quotation(_message.Message):
    __slots__ = ("input_mint", "output_mint", "mode", "amount_in", "amount_out", "price_impact_ppm", "paths", "slot", "newest_slot", "stale_slots", "stale_ms", "source")
    INPUT_MINT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_MINT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_IN_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_OUT_FIELD_NUMBER: _ClassVar[int]
    PRICE_IMPACT_PPM_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    NEWEST_SLOT_FIELD_NUMBER: _ClassVar[int]
    STALE_SLOTS_FIELD_NUMBER: _ClassVar[int]
    STALE_MS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    input_mint: str
    output_mint: str
    mode: Mode
    amount_in: int
    amount_out: int
    price_impact_ppm: int
    paths: _containers.RepeatedCompositeFieldContainer[Path]
    slot: int
    newest_slot: int
    stale_slots: int
    stale_ms: int
    source: str
    def __init__(self, input_mint: _Optional[str] = ..., output_mint: _Optional[str] = ..., mode: _Optional[_Union[Mode, str]] = ..., amount_in: _Optional[int] = ..., amount_out: _Optional[int] = ..., price_impact_ppm: _Optional[int] = ..., paths: _Optional[_Iterable[_Union[Path, _Mapping]]] = ..., slot: _Optional[int] = ..., newest_slot: _Optional[int] = ..., stale_slots: _Optional[int] = ..., stale_ms: _Optional[int] = ..., source: _Optional[str] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("error", "detail", "hint")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    error: str
    detail: str
    hint: str
    def __init__(self, error: _Optional[str] = ..., detail: _Optional[str] = ..., hint: _Optional[str] = ...) -> None: ...

class QuoteBatchRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[QuoteRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[QuoteRequest, _Mapping]]] = ...) -> None: ...

class BatchAnswer(_message.Message):
    __slots__ = ("quotation", "refusal")
    QUOTATION_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    quotation: Quotation
    refusal: Refusal
    def __init__(self, quotation: _Optional[_Union[Quotation, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class QuoteBatchResponse(_message.Message):
    __slots__ = ("answers",)
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    answers: _containers.RepeatedCompositeFieldContainer[BatchAnswer]
    def __init__(self, answers: _Optional[_Iterable[_Union[BatchAnswer, _Mapping]]] = ...) -> None: ...

class PoolsRequest(_message.Message):
    __slots__ = ("mint",)
    MINT_FIELD_NUMBER: _ClassVar[int]
    mint: str
    def __init__(self, mint: _Optional[str] = ...) -> None: ...

class Pool(_message.Message):
    __slots__ = ("pool", "protocol", "mint_a", "mint_b", "price_b", "price_a", "slot", "stale_slots", "stale_ms")
    POOL_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    MINT_A_FIELD_NUMBER: _ClassVar[int]
    MINT_B_FIELD_NUMBER: _ClassVar[int]
    PRICE_B_FIELD_NUMBER: _ClassVar[int]
    PRICE_A_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    STALE_SLOTS_FIELD_NUMBER: _ClassVar[int]
    STALE_MS_FIELD_NUMBER: _ClassVar[int]
    pool: str
    protocol: str
    mint_a: str
    mint_b: str
    price_b: str
    price_a: str
    slot: int
    stale_slots: int
    stale_ms: int
    def __init__(self, pool: _Optional[str] = ..., protocol: _Optional[str] = ..., mint_a: _Optional[str] = ..., mint_b: _Optional[str] = ..., price_b: _Optional[str] = ..., price_a: _Optional[str] = ..., slot: _Optional[int] = ..., stale_slots: _Optional[int] = ..., stale_ms: _Optional[int] = ...) -> None: ...

class PoolsResponse(_message.Message):
    __slots__ = ("newest_slot", "pools")
    NEWEST_SLOT_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    newest_slot: int
    pools: _containers.RepeatedCompositeFieldContainer[Pool]
    def __init__(self, newest_slot: _Optional[int] = ..., pools: _Optional[_Iterable[_Union[Pool, _Mapping]]] = ...) -> None: ...
