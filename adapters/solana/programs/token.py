"""SPL Token and Token-2022 on chain: ids, token account and mint decoding, transfer fees, checked transfers.

The 165 and 82 byte layouts are solders' own; here are the checks around them and what they leave out.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from solders.instruction import Instruction
from solders.pubkey import Pubkey
from solders.token import ID
from solders.token.state import Mint, TokenAccount, TokenAccountState

from adapters.solana.programs.layout import check_owner
from adapters.solana.programs.metas import readable, signer, writable
from domain.errors import DecodeError
from domain.market.amm.pool import TransferFee

TOKEN_PROGRAM: Final = ID
TOKEN_2022_PROGRAM: Final = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
TOKEN_PROGRAMS: Final = (TOKEN_PROGRAM, TOKEN_2022_PROGRAM)
NATIVE_MINT: Final = Pubkey.from_string("So11111111111111111111111111111111111111112")

TOKEN_ACCOUNT_LENGTH: Final = 165
MINT_LENGTH: Final = 82

_AMOUNT_AT: Final = 64
_TYPE_AT: Final = 165  # Token-2022 pads both layouts to 165 bytes and writes the account type behind
_TYPE_MINT: Final = 1
_TYPE_ACCOUNT: Final = 2
_TRANSFER_FEE_CONFIG: Final = 1
_TRANSFER_FEE: Final = Struct(
    "<72xQQHQQH"
)  # two authorities and the withheld amount, then older and newer fee
_TRANSFER_CHECKED: Final = Struct("<BQB")


def decode_token_account(data: bytes, owner: Pubkey) -> TokenAccount:
    """Read a token account of either token program.

    Raises:
        DecodeError: another program owns it, or its bytes are no initialised token account.
    """
    base = _base("token account", data, owner, TOKEN_ACCOUNT_LENGTH, _TYPE_ACCOUNT)
    try:
        return TokenAccount.from_bytes(base)
    except ValueError as error:
        raise DecodeError(f"decoding a token account: {error}") from error


def decode_mint(data: bytes, owner: Pubkey) -> Mint:
    """Read a mint of either token program.

    Raises:
        DecodeError: another program owns it, or its bytes are no initialised mint.
    """
    base = _base("token mint", data, owner, MINT_LENGTH, _TYPE_MINT)
    try:
        return Mint.from_bytes(base)
    except ValueError as error:
        raise DecodeError(f"decoding a token mint: {error}") from error


def is_token_account(data: bytes, owner: Pubkey) -> bool:
    """Whether the account is an initialised token account; the cheap test before `decode_token_account`."""
    if len(data) < TOKEN_ACCOUNT_LENGTH or data[108] not in (1, 2) or owner not in TOKEN_PROGRAMS:
        return False
    if len(data) == TOKEN_ACCOUNT_LENGTH:
        return True
    return owner == TOKEN_2022_PROGRAM and data[_TYPE_AT] == _TYPE_ACCOUNT


def token_amount(data: bytes) -> int:
    """Read only the amount of a token account already known to be one."""
    return int.from_bytes(data[_AMOUNT_AT : _AMOUNT_AT + 8], "little")


def encode_token_account(
    mint: Pubkey, owner: Pubkey, amount: int, *, native_reserve: int | None = None
) -> bytes:
    """Write an initialised 165 byte token account; `native_reserve` is the rent wrapped SOL keeps."""
    account = TokenAccount(
        mint=mint,
        owner=owner,
        amount=amount,
        delegate=None,
        state=TokenAccountState.Initialized,
        is_native=native_reserve,
        delegated_amount=0,
        close_authority=None,
    )
    return bytes(account)


def encode_mint(authority: Pubkey | None, supply: int, decimals: int) -> bytes:
    """Write an initialised 82 byte mint."""
    return bytes(
        Mint(
            mint_authority=authority,
            supply=supply,
            decimals=decimals,
            is_initialized=True,
            freeze_authority=None,
        )
    )


def transfer_fee(data: bytes, owner: Pubkey, epoch: int) -> TransferFee | None:
    """Read the transfer fee a mint charges in `epoch`; None for plain SPL mints and mints without one.

    Raises:
        DecodeError: the mint's extensions run past its end.
    """
    if owner != TOKEN_2022_PROGRAM or len(data) <= _TYPE_AT:
        return None
    body = _extension(data, _TRANSFER_FEE_CONFIG)
    if body is None:
        return None
    if len(body) < _TRANSFER_FEE.size:
        raise DecodeError(
            f"decoding a mint's transfer fee: found {len(body)} bytes, expected {_TRANSFER_FEE.size}"
        )
    _, old_maximum, old_bps, epoch_from, maximum, bps = _TRANSFER_FEE.unpack_from(body)
    return TransferFee(bps, maximum) if epoch >= epoch_from else TransferFee(old_bps, old_maximum)


def transfer_checked(
    program: Pubkey,
    *,
    source: Pubkey,
    mint: Pubkey,
    destination: Pubkey,
    authority: Pubkey,
    amount: int,
    decimals: int,
) -> Instruction:
    """Build a TransferChecked of `amount` base units."""
    metas = [
        writable(source),
        readable(mint),
        writable(destination),
        signer(authority),
    ]
    return Instruction(program, _TRANSFER_CHECKED.pack(12, amount, decimals), metas)


def _base(kind: str, data: bytes, owner: Pubkey, length: int, account_type: int) -> bytes:
    check_owner(kind, owner, TOKEN_PROGRAMS)
    extended = owner == TOKEN_2022_PROGRAM and len(data) > _TYPE_AT and data[_TYPE_AT] == account_type
    if len(data) != length and not extended:
        raise DecodeError(f"decoding a {kind}: found {len(data)} bytes, expected {length}; check the address")
    return data[:length]


def _extension(data: bytes, wanted: int) -> bytes | None:
    at = _TYPE_AT + 1
    while at + 4 <= len(data):  # each entry moves on by at least its 4 byte head
        kind = int.from_bytes(data[at : at + 2], "little")
        length = int.from_bytes(data[at + 2 : at + 4], "little")
        if at + 4 + length > len(data):
            raise DecodeError(
                f"decoding a mint: extension {kind} claims {length} bytes past the end of the account"
            )
        if kind == wanted:
            return data[at + 4 : at + 4 + length]
        at += 4 + length
    return None
