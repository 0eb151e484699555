"""The quote service's settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

Protocol = Literal[
    "raydium_amm_v4", "raydium_cpmm", "raydium_clmm", "orca_whirlpool", "meteora_dlmm", "pumpswap"
]


def _http(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must begin with one of http:, https:")
    return url


class QuoteSettings(BaseModel):
    """What `daybook quotes` knows and where it listens; the node is the chain's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocols: tuple[Protocol, ...] = Field((), description="Pool programs; none named: all six.")
    mints: tuple[str, ...] = Field((), description="Pools that trade one of these; none: SOL, USDC.")
    http_port: int = Field(8440, ge=0, le=65535, description="REST; 0 takes a free port.")
    grpc_port: int = Field(8441, ge=0, le=65535, description="gRPC; 0 takes a free port.")
    max_stale_ms: int = Field(5_000, ge=100, description="Pools out of sight for longer are not quoted.")
    jupiter_url: Annotated[str, AfterValidator(_http)] | None = Field(
        None, description="Asked where our book has no answer, e.g. https://lite-api.jup.ag."
    )
    jupiter_api_key: SecretStr | None = Field(None, description="Sent to it, where it wants one.")
