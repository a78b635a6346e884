"""`pairloop export`: a project's answers into a file or a pipe."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from app.api_client import HERE, Slug, Token, Url, signed_in

commands = typer.Typer()


@commands.command(
    epilog="Example: pairloop export --project demo --format parquet --output demo.parquet",
)
def export(
    project: Slug,
    token: Token,
    url: Url = HERE,
    layout: Annotated[str, typer.Option(help="preference (what trainers read) or raw (every answer).")] = "preference",
    file_format: Annotated[str, typer.Option("--format", help="jsonl, parquet or another format.")] = "jsonl",
    filters: Annotated[str, typer.Option(help="Which answers, as JSON.")] = "{}",
    output: Annotated[Path | None, typer.Option(help="Where to write; without it, standard output.")] = None,
) -> None:
    """Take a project's answers out."""
    if output is None and file_format == "parquet" and sys.stdout.isatty():
        raise typer.BadParameter("Parquet is nothing for a terminal: name a file.", param_hint="--output")
    body = {"layout": layout, "format": file_format, "filters": _json(filters)}
    with signed_in(url, token) as api:
        made = api.call("POST", f"/projects/{project}/exports", json=body)
        made = api.until_finished(f"/exports/{made['id']}")
        if made["status"] != "succeeded":
            typer.echo(made.get("error") or "The export did not succeed.", err=True)
            raise typer.Exit(1)
        target = sys.stdout.buffer if output is None else output.open("wb")
        try:
            for piece in api.download(f"/exports/{made['id']}/file"):
                target.write(piece)
            target.flush()
        finally:
            if output is not None:
                target.close()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as problem:
        raise typer.BadParameter(f"This is no JSON: {problem}.", param_hint="--filters") from problem
