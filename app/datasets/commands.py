"""`pairloop export`: a project's answers into a file or a pipe."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from app.api_client import HERE, Slug, Token, Url, signed_in

commands = typer.Typer()
# Written out, because the modules that know them take long to import.
LAYOUT = "What a row is: preference, margin, standard, hh, kto, sft, ranking, prompts, raw."
FORMAT = "jsonl, jsonl.gz, jsonl.zst, parquet, csv, csv.gz, csv.zst, datasets (a .tar)."


@commands.command(
    epilog="Example: pairloop export --project demo --layout kto --format jsonl.gz --tag law --since 2026-01-31 "
    "--output law.jsonl.gz",
)
def export(
    project: Slug,
    token: Token,
    url: Url = HERE,
    layout: Annotated[str, typer.Option(help=LAYOUT)] = "preference",
    file_format: Annotated[str, typer.Option("--format", help=FORMAT)] = "jsonl",
    per: Annotated[str, typer.Option(help="A row per answer, or per comparison by majority.")] = "answer",
    since: Annotated[str, typer.Option(help="Answers from this time on, such as 2026-01-31.")] = "",
    until: Annotated[str, typer.Option(help="Answers before this time.")] = "",
    purpose: Annotated[list[str], typer.Option(help="train, holdout, gold, evaluation, repeat; may be repeated.")] = [],  # noqa: B006
    source: Annotated[list[str], typer.Option(help="page, api, chat, import, feedback; may be repeated.")] = [],  # noqa: B006
    annotator: Annotated[list[str], typer.Option(help="A pseudonym; may be repeated.")] = [],  # noqa: B006
    tag: Annotated[list[str], typer.Option(help="A tag of the prompt; may be repeated.")] = [],  # noqa: B006
    checkpoint: Annotated[
        list[str], typer.Option(help="Who wrote both responses: an id, base or outside; may be repeated.")
    ] = [],  # noqa: B006
    agreement: Annotated[float | None, typer.Option(help="At least this share of a pair's answers agree.")] = None,
    strength: Annotated[int | None, typer.Option(help="Better by at least 1, 2 or 3.")] = None,
    simulated: Annotated[bool, typer.Option("--simulated", help="Simulated annotators' answers too.")] = False,
    filters: Annotated[str, typer.Option(help="All of these at once, as JSON.")] = "{}",
    manifest: Annotated[Path | None, typer.Option(help="Where to write the manifest.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where to write; without it, standard output.")] = None,
) -> None:
    """Take a project's answers out."""
    text = file_format in ("jsonl", "csv")
    if output is None and not text and sys.stdout.isatty():
        raise typer.BadParameter(f"{file_format} is nothing for a terminal: name a file.", param_hint="--output")
    chosen = {
        "since": since,
        "until": until,
        "purposes": purpose,
        "sources": source,
        "annotators": annotator,
        "tags": tag,
        "checkpoints": checkpoint,
        "agreement": agreement,
        "strength": strength,
        "simulated": simulated,
    }
    asked = {**_json(filters), **{name: value for name, value in chosen.items() if value}}
    body = {"layout": layout, "format": file_format, "per": per, "filters": asked}
    with signed_in(url, token) as api:
        made = api.call("POST", f"/projects/{project}/exports", json=body)
        made = api.until_finished(f"/exports/{made['id']}")
        if made["status"] != "succeeded":
            typer.echo(made.get("error") or "The export did not succeed.", err=True)
            raise typer.Exit(1)
        if manifest is not None:
            facts = api.call("GET", f"/exports/{made['id']}/manifest")
            manifest.write_text(json.dumps(facts, indent=1, ensure_ascii=False))
        target = sys.stdout.buffer if output is None else output.open("wb")
        try:
            for piece in api.download(f"/exports/{made['id']}/file"):
                target.write(piece)
            target.flush()
        finally:
            if output is not None:
                target.close()


def _json(text: str) -> dict[str, Any]:
    try:
        chosen = json.loads(text)
    except json.JSONDecodeError as problem:
        raise typer.BadParameter(f"This is no JSON: {problem}.", param_hint="--filters") from problem
    if not isinstance(chosen, dict):
        raise typer.BadParameter('Filters are an object, such as {"tags": ["law"]}.', param_hint="--filters")
    return chosen
