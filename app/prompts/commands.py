"""`pairloop import`: a file of prompts, or of ready-made comparisons, into a project."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from app.api_client import HERE, Slug, Token, Url, signed_in

PIECE = 16_000_000  # bytes sent at once; the server takes 64 MB
WHOLE = 64_000_000  # bytes that the server takes at once

commands = typer.Typer()


@commands.command("import", epilog="Example: pairloop import --project demo --what prompts prompts.jsonl")
def bring_in(
    file: Annotated[
        Path, typer.Argument(help="JSON Lines of any length, or a JSON list.", exists=True, dir_okay=False)
    ],
    project: Slug,
    token: Token,
    url: Url = HERE,
    what: Annotated[
        str, typer.Option(help="prompts, or comparisons (two responses each, with or without an answer).")
    ] = ("prompts"),
) -> None:
    """Bring prompts or comparisons in.

    Prints how many were added, known already, or rejected, and why. What can be used is taken, whatever else is in the
    file; the same file twice adds nothing.
    """
    if what not in ("prompts", "comparisons"):
        raise typer.BadParameter("Import prompts or comparisons.", param_hint="--what")
    total: dict[str, Any] = {"added": 0, "duplicates": 0, "rejected": [], "rejected_total": 0}
    with signed_in(url, token) as api:
        for first_line, piece in pieces(file):
            taken = api.call("POST", f"/projects/{project}/{what}", content=piece)
            for count in ("added", "duplicates", "rejected_total"):
                total[count] += taken[count]
            total["rejected"] += [{**bad, "line": bad["line"] + first_line} for bad in taken["rejected"]]
            typer.echo(f"{total['added']} added so far.", err=True)
    typer.echo(json.dumps(total))


def pieces(file: Path) -> Iterator[tuple[int, bytes]]:
    """The file in pieces of whole lines, each with the number of lines before it; a JSON list in one piece."""
    with file.open("rb") as source:
        if source.read(1024).lstrip()[:1] == b"[":
            if file.stat().st_size > WHOLE:
                raise typer.BadParameter("A JSON list of more than 64 MB does not fit; write it as JSON Lines.")
            source.seek(0)
            yield 0, source.read()
            return
        source.seek(0)
        before = 0
        while lines := source.readlines(PIECE):
            yield before, b"".join(lines)
            before += len(lines)
