"""`daybook events schema`: what every event looks like, for programs and people."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
import typer

from daybook.cli.output import JsonFlag, print_json, say


class SchemaFormat(StrEnum):
    """Of the document."""

    JSON_SCHEMA = "json-schema"
    ASYNCAPI = "asyncapi"
    MARKDOWN = "markdown"


def schema(
    *,
    document: Annotated[
        SchemaFormat, typer.Option("--format", help="JSON Schema, AsyncAPI 3, or a page to read.")
    ] = SchemaFormat.JSON_SCHEMA,
    as_json: JsonFlag = False,
) -> None:
    """Print the schemas of all event types; docs/reference holds what this prints.

    With --json the document is one line; a page to read is then its `text`.
    """
    if document is SchemaFormat.MARKDOWN:
        from adapters.jetstream.event_table import markdown  # noqa: PLC0415 - each command loads only what it needs

        text = markdown()
        if as_json:
            print_json({"text": text})
        else:
            say(text.rstrip("\n"))
        return
    if document is SchemaFormat.ASYNCAPI:
        from adapters.jetstream.asyncapi import asyncapi as made  # noqa: PLC0415 - as above
    else:
        from adapters.postgres.event_schemas import json_schema as made  # noqa: PLC0415 - as above
    if as_json:
        print_json(made())
    else:
        say(msgspec.json.format(msgspec.json.encode(made()), indent=2).decode())
