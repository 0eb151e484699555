"""The RPC pool's settings, and the pool they describe. URLs and headers carry keys: they are secrets here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

if TYPE_CHECKING:  # every command reads the settings, few have a pool: it is loaded where one is made
    from adapters.rpcpool.endpoint import EndpointConfig
    from adapters.rpcpool.pool import PoolOptions


class RpcEndpointSettings(BaseModel):
    """One endpoint of the pool."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: SecretStr = Field(description="http:// or https:// of the node.")
    ws_url: SecretStr | None = Field(None, description="ws:// or wss://; none takes no subscriptions.")
    name: str = Field("", max_length=64, description="For metrics and people; empty takes the host.")
    weight: int = Field(1, ge=1, le=1_000, description="Its share beside the others'.")
    requests_per_second: float | None = Field(None, gt=0, description="The most it is sent.")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="Sent with each request.")

    def config(self) -> EndpointConfig:
        """What the pool takes."""
        from adapters.rpcpool.endpoint import EndpointConfig  # noqa: PLC0415 - see above

        return EndpointConfig(
            url=self.url.get_secret_value(),
            ws_url=None if self.ws_url is None else self.ws_url.get_secret_value(),
            weight=self.weight,
            requests_per_second=self.requests_per_second,
            headers={name: value.get_secret_value() for name, value in self.headers.items()},
            name=self.name,
        )


class RpcPoolSettings(BaseModel):
    """The RPC proxy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoints: tuple[RpcEndpointSettings, ...] = Field((), description="The endpoints, as a JSON list.")
    port: int = Field(8430, ge=0, le=65535, description="Of `daybook rpc-proxy`; 0 takes a free one.")
    balancing: Literal["round_robin", "least_latency"] = Field("round_robin", description="Who is next.")
    fanout: int = Field(3, ge=1, le=20, description="Endpoints a transaction is sent to.")
    hedge_percentile: int = Field(95, ge=50, le=100, description="100: reads are not hedged.")
    timeout_seconds: int = Field(30, ge=1, le=300, description="The longest a call may take.")
    health_seconds: int = Field(30, ge=1, le=3600, description="Between two looks at all endpoints.")
    max_lag_slots: int = Field(50, ge=1, description="How far a slot may be from the majority's.")
    cache_megabytes: int = Field(64, ge=0, le=65536, description="For answers that never change.")
    extra_methods: tuple[str, ...] = Field((), description="A provider's own methods, passed on once.")

    def configs(self) -> list[EndpointConfig]:
        """The endpoints."""
        return [one.config() for one in self.endpoints]

    def options(self) -> PoolOptions:
        """How the pool behaves."""
        from adapters.rpcpool.pool import PoolOptions  # noqa: PLC0415 - see above

        return PoolOptions(
            balancing=self.balancing,
            fanout=self.fanout,
            hedge_percentile=None if self.hedge_percentile == 100 else self.hedge_percentile,
            timeout_s=self.timeout_seconds,
            health_every_s=self.health_seconds,
            max_lag_slots=self.max_lag_slots,
            cache_bytes=self.cache_megabytes * 2**20,
            extra_methods=frozenset(self.extra_methods),
        )
