"""`daybook quotes serve|get`: exact quotes over the pools of the node, as a service or once."""

from __future__ import annotations

from typing import Annotated

import typer

from daybook.cli.output import DataDir, JsonFlag
from daybook.settings import load_settings
from domain.chain import Mint
from domain.market.quotes import QuoteRequest

quotes_app = typer.Typer(help="Exact quotes over the pools of Solana.", no_args_is_help=True)


@quotes_app.command()
def serve(*, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Serve quotes over REST and gRPC until Ctrl-C or SIGTERM, from pools kept current.

    Settings: DAYBOOK_RPC_URL, DAYBOOK_WS_URL and DAYBOOK_QUOTES__*. With --json the first line on standard
    output says where it listens and what it found, the last what changed since.
    """
    from daybook.quotes import run_quotes  # noqa: PLC0415 - each command loads only what it needs

    raise typer.Exit(run_quotes(load_settings(data_dir=data_dir), as_json=as_json))


@quotes_app.command()
def get(
    input_mint: Annotated[str, typer.Argument(help="The token that is sold.")],
    output_mint: Annotated[str, typer.Argument(help="The token that is bought.")],
    amount: Annotated[
        int, typer.Argument(help="Base units of the input, or with --exact-out of the output.")
    ],
    *,
    exact_out: Annotated[bool, typer.Option("--exact-out", help="AMOUNT is what must arrive.")] = False,
    max_legs: Annotated[int, typer.Option(min=1, max=3, help="The most pools of one path.")] = 3,
    max_parts: Annotated[int, typer.Option(min=1, max=4, help="The most paths side by side.")] = 4,
    as_json: JsonFlag = False,
) -> None:
    """Read the pools from the node and quote one swap; no service is needed."""
    from daybook.quotes import run_quote  # noqa: PLC0415 - as above

    request = QuoteRequest(Mint(input_mint), Mint(output_mint), amount, not exact_out, max_legs, max_parts)
    raise typer.Exit(run_quote(load_settings(), request, as_json=as_json))
