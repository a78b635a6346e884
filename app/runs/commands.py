"""`pairloop run`: start a run from a script, and wait for it."""

import json
from typing import Annotated

import typer

from app.api_client import HERE, Slug, Token, Url, signed_in

commands = typer.Typer()


@commands.command(
    epilog="Example: pairloop run --project demo --kind chain --params '{\"force\": true}' --wait",
)
def run(
    project: Slug,
    kind: Annotated[str, typer.Option(help="The kind of run: chain, sample, reward, ppo, dpo or evaluate.")],
    token: Token,
    url: Url = HERE,
    params: Annotated[str, typer.Option(help="The run's parameters, as JSON.")] = "{}",
    wait: Annotated[bool, typer.Option(help="Return only when the run has finished.")] = False,
) -> None:
    """Start a run and print it as JSON.

    With --wait the exit status is 1 when the run failed or was cancelled.
    """
    try:
        chosen = json.loads(params)
    except json.JSONDecodeError as problem:
        raise typer.BadParameter(f"This is no JSON: {problem}.", param_hint="--params") from problem
    with signed_in(url, token) as api:
        found = api.call("POST", f"/projects/{project}/runs", json={"kind": kind, "params": chosen})
        if wait:
            found = api.until_finished(f"/runs/{found['id']}")
    typer.echo(json.dumps(found))
    if found["status"] in ("failed", "cancelled"):
        raise typer.Exit(1)
