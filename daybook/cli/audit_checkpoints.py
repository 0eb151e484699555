"""`daybook audit checkpoints`: what was signed, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from daybook.cli.audit import AuditRoom, audit_app, shown, with_room
from daybook.cli.output import DataDir, JsonFlag, print_json, say
from daybook.settings import load_settings
from domain.events import to_datetime

if TYPE_CHECKING:
    from domain.audit.checkpoint import KeptCheckpoint

MAX_SIZE: Final = 2**63 - 1
"""The database counts no further."""


@audit_app.command()
def checkpoints(
    *,
    above: Annotated[int, typer.Option(min=0, max=MAX_SIZE, help="Only those of more events than this.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, smallest first.")] = 100,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """List the signed checkpoints: how many events each vouches for, when it was signed, and its root."""

    async def act(room: AuditRoom) -> tuple[list[KeptCheckpoint], KeptCheckpoint | None]:
        return await room.checkpoints.between(above, MAX_SIZE, limit), await room.checkpoints.newest()

    found, newest = with_room(load_settings(data_dir=data_dir), act)
    if as_json:
        print_json({"checkpoints": [shown(each.checkpoint) for each in found]})
        return
    for each in found:
        said = each.checkpoint.statement
        when = to_datetime(said.signed_at).isoformat(timespec="seconds")
        say(f"{said.tree_size:>14,} events  {when}  root {said.root.hex()}")
    if newest is None:
        say("nothing was signed yet: run `daybook audit checkpoint`")
    elif found and found[-1].size < newest.size:
        say(f"these were {len(found):,}; for the next ones give --above {found[-1].size}")
    elif not found:
        say(f"no checkpoint vouches for more than {above:,} events")
