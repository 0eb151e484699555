"""Every setting in one frozen tree, read from `DAYBOOK_*` variables and an optional `.env` file.

A nested setting is written with two underscores: `DAYBOOK_RISK__MAX_OPEN_ORDERS=4`. An unknown name is an
error, never ignored: a mistyped limit must not become the default.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from daybook.quote_settings import QuoteSettings
from daybook.rpc_settings import RpcPoolSettings
from domain.errors import SetupError

PREFIX: Final = "DAYBOOK_"
NOT_OURS: Final = frozenset({"DAYBOOK_SHARED", "DAYBOOK_VECTORS"})
"""Variables read by the tests alone."""


def _scheme(*allowed: str) -> AfterValidator:
    def check(url: str) -> str:
        if not url.startswith(tuple(f"{scheme}:" for scheme in allowed)):
            raise ValueError(f"must begin with one of {', '.join(f'{scheme}:' for scheme in allowed)}")
        return url

    return AfterValidator(check)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArbitrageSettings(_Section):
    """What the arbitrage planner may look for; lamports unless named otherwise."""

    min_profit_lamports: int = Field(20_000, ge=0, description="Least profit after fees and tip.")
    max_input_lamports: int = Field(20_000_000_000, gt=0, description="Largest input of one cycle.")
    compute_unit_limit: int = Field(400_000, ge=1_000, le=1_400_000, description="Of one transaction.")
    compute_unit_price_micro_lamports: int = Field(10_000, ge=0, description="Priority fee per unit.")
    tip_lamports: int = Field(1_000, ge=0, description="Paid inside the transaction.")
    max_quote_age_slots: int = Field(20, ge=1, description="An opportunity so far behind is stale.")


class RiskSettings(_Section):
    """What the coordinator may allow."""

    max_order_input_lamports: int = Field(20_000_000_000, gt=0, description="Largest input of one order.")
    max_open_orders: int = Field(8, ge=1, le=16, description="Orders of one strategy not yet closed.")
    max_loss_lamports: int = Field(1_000_000_000, gt=0, description="Loss at which a strategy stops.")
    reserve_lamports: int = Field(50_000_000, ge=0, description="Native lamports orders leave untouched.")


class Settings(BaseSettings):
    """daybook's settings. Servers left unset are the embedded ones of `data_dir`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", env_file=".env", frozen=True, extra="forbid"
    )

    data_dir: Path = Field(Path(".daybook"), description="The embedded servers' data folder.")
    database_url: Annotated[str, _scheme("postgresql", "postgres")] | None = Field(
        None, description="A PostgreSQL of your own."
    )
    nats_url: Annotated[str, _scheme("nats", "tls", "ws", "wss")] | None = Field(
        None, description="A NATS server with JetStream of your own."
    )
    redis_url: Annotated[str, _scheme("redis", "rediss", "unix")] | None = Field(
        None, description="A Redis or Valkey of your own."
    )
    rpc_url: Annotated[str, _scheme("http", "https")] | None = Field(
        None, description="A Solana node's JSON-RPC address."
    )
    ws_url: Annotated[str, _scheme("ws", "wss")] | None = Field(
        None, description="The node's WebSocket address."
    )
    keypair_file: Path | None = Field(None, description="The trading wallet's key, a 64-byte JSON array.")
    audit_key_file: Path | None = Field(
        None, description="The auditor's Ed25519 key, PEM; unset: audit_key.pem in the data folder."
    )
    audit_checkpoint_events: int = Field(10_000, ge=1, description="Sign after so many new events.")
    audit_checkpoint_seconds: int = Field(60, ge=1, description="Or after so long, if any are new.")
    tip_account: str | None = Field(None, description="Where tips go; none pays no tip.")
    pools: tuple[str, ...] = Field((), description="Pool accounts to watch, as a JSON list.")
    api_host: str = Field("127.0.0.1", description="Where the API listens.")
    api_port: int = Field(8420, ge=0, le=65535, description="0 takes a free port.")
    archive_dir: Path | None = Field(
        None, description="Where archives go; unset: `archive` in the data folder."
    )
    archive_after_days: int = Field(
        7, ge=0, description="Age at which market events may be archived; as JetStream keeps them."
    )
    jetstream_replicas: Literal[1, 3, 5] = Field(1, description="Copies of each stream; 3 in production.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    log_format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal.")
    arbitrage: ArbitrageSettings = ArbitrageSettings.model_construct()
    risk: RiskSettings = RiskSettings.model_construct()
    quotes: QuoteSettings = QuoteSettings.model_construct()
    rpc_pool: RpcPoolSettings = RpcPoolSettings.model_construct()

    @property
    def audit_key(self) -> Path:
        """Where the auditor's key is."""
        return self.audit_key_file or self.data_dir / "audit_key.pem"


def load_settings(**overrides: object) -> Settings:
    """Read the settings: `overrides` (the command line) win over the environment, which wins over `.env`.

    Raises:
        SetupError: an unknown setting or a value that does not fit, named with what to do; a folder of
            embedded servers on the command line though another database is set.
    """
    _refuse_unknown(os.environ)
    try:
        settings = Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type] # pydantic checks them
    except ValidationError as error:
        raise SetupError(_explain(error)) from None
    except SettingsError as error:
        raise SetupError(_explain_json(error)) from None
    if overrides.get("data_dir") is not None and settings.database_url is not None:
        raise SetupError(
            f"--data-dir names the embedded servers of {settings.data_dir}, and DAYBOOK_DATABASE_URL another "
            "database: leave one of them out"
        )
    return settings


def _refuse_unknown(names: Iterable[str]) -> None:
    known = _known_names()
    for name in sorted(names):
        if name.startswith(PREFIX) and name not in known and name not in NOT_OURS:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            hint = f"did you mean {close[0]}?" if close else "see .env.example for every setting"
            raise SetupError(f"the environment sets {name}, which daybook does not know: {hint}")


def _known_names() -> frozenset[str]:
    names = set()
    for name, field in Settings.model_fields.items():
        names.add(f"{PREFIX}{name.upper()}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names |= {f"{PREFIX}{name.upper()}__{part.upper()}" for part in field.annotation.model_fields}
    return frozenset(names)


def _explain_json(error: SettingsError) -> str:
    found = re.search(r'field "(\w+)"', str(error))
    name = PREFIX + found.group(1).upper() if found else "one setting"
    return (
        f'setting {name}: what was found is no JSON; write a list as \'["ONE", "TWO"]\', '
        f"a section's parts each by name (e.g. {PREFIX}RISK__MAX_OPEN_ORDERS)"
    )


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    name = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
    secret = "url" in name.lower() or "ENDPOINTS" in name  # both carry keys
    found = "" if secret else f" (found {first['input']!r})"
    return f"setting {name}: {first['msg'].removeprefix('Value error, ')}{found}; correct it and run again"
