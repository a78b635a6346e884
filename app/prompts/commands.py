"""`pairloop import`: a file of prompts, or of ready-made comparisons, into a project."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from app.api_client import HERE, Api, Slug, Token, Url, signed_in

RESULT = ("added", "duplicates", "rejected", "rejected_total")

commands = typer.Typer()


@commands.command("import", epilog="Example: pairloop import --project demo --map prompt=question prompts.jsonl")
def bring_in(
    file: Annotated[
        Path,
        typer.Argument(
            help="Text, CSV, JSON, JSON Lines or Parquet; text may be packed with gzip or zstd.",
            exists=True,
            dir_okay=False,
        ),
    ],
    project: Slug,
    token: Token,
    url: Url = HERE,
    layout: Annotated[
        str,
        typer.Option(help="prompts, preference, pairs, hh, scored, arena, label_studio or argilla; else recognised."),
    ] = "",
    map: Annotated[
        list[str], typer.Option(help="Which column is what, such as prompt=question; may be given again.")
    ] = [],  # noqa: B006  typer copies it
    format: Annotated[str, typer.Option(help="text, csv, json, jsonl or parquet; else recognised.")] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Only show what the first rows would become; store nothing.")
    ] = False,
    wrong_lines: Annotated[
        Path | None, typer.Option(help="Where to write the lines that could not be used, to mend them.")
    ] = None,
    what: Annotated[str, typer.Option(help="The same as --layout prompts, or comparisons of any layout.")] = "",
) -> None:
    """Bring prompts or comparisons in.

    Prints how many were added, known already, or rejected, and why. What can be used is taken, whatever else is in the
    file; the same file twice adds nothing.
    """
    if what not in ("", "prompts", "comparisons"):
        raise typer.BadParameter("Import prompts or comparisons.", param_hint="--what")
    if what == "prompts" and not layout:
        layout = "prompts"
    how = {"layout": layout, "map": map, "format": format, "name": file.name}
    with signed_in(url, token) as api, file.open("rb") as content:
        path = f"/projects/{project}/imports"
        if check:
            typer.echo(json.dumps(api.call("POST", f"{path}/preview", params=how, content=content), ensure_ascii=False))
            return
        started = api.call("POST", path, params=how, content=content)
        typer.echo(f"{started['layout']}, {started['format']}: {started['mapping']}", err=True)
        ended = api.until_finished(f"/imports/{started['id']}")
        _keep_wrong_lines(api, ended, wrong_lines)
    typer.echo(json.dumps({"import": ended["id"], **{name: ended[name] for name in RESULT}}, ensure_ascii=False))
    if ended["status"] != "succeeded":
        typer.echo(ended["error"] or f"The import was {ended['status']}.", err=True)
        raise typer.Exit(1)


def _keep_wrong_lines(api: Api, ended: dict[str, Any], to: Path | None) -> None:
    if to is not None and ended["rejected_total"]:
        with to.open("wb") as kept:
            for piece in api.download(f"/imports/{ended['id']}/wrong-lines"):
                kept.write(piece)
