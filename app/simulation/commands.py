"""`pairloop simulate`: one simulated annotator answers pairs of a running Pairloop."""

import json
import random
from typing import Annotated

import httpx
import typer

from app.simulation.annotators import SimulatedAnnotator, SimulationError, Tally
from app.simulation.gold import RULES, Rule, ceiling

commands = typer.Typer(no_args_is_help=True)


def known_rule(name: str) -> Rule:
    """The rule of this name; a typer error that lists the names otherwise."""
    if name not in RULES:
        raise typer.BadParameter(f"There is no rule {name!r}. Choose one of {', '.join(sorted(RULES))}.")
    return RULES[name]


@commands.command(
    epilog="Example: pairloop simulate --url http://127.0.0.1:8000 --token TOKEN --project demo --rule warm "
    "--flips 0.1 --answers 300"
)
def simulate(
    token: Annotated[
        str, typer.Option(envvar="PAIRLOOP_TOKEN", help="Bearer token of a simulated user who annotates.")
    ],
    project: Annotated[str, typer.Option(help="Slug of the project.")],
    url: Annotated[str, typer.Option(help="Address of the running Pairloop.")] = "http://127.0.0.1:8000",
    rule: Annotated[str, typer.Option(help=f"What the annotator likes: {', '.join(sorted(RULES))}.")] = "warm",
    flips: Annotated[float, typer.Option(min=0, max=1, help="Share of answers that name the wrong response.")] = 0.1,
    answers: Annotated[int, typer.Option(min=1, help="How many pairs to answer.")] = 300,
    seed: Annotated[int, typer.Option(help="The same seed slips at the same places.")] = 1,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait while no pair is ready.")] = 600,
) -> None:
    """Answer pairs by a hidden rule, through the HTTP API, as a simulated user."""
    hidden = known_rule(rule)
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        annotator = SimulatedAnnotator(client, project, hidden, flips, random.Random(seed))
        try:
            for _ in annotator.answer(answers, patience):
                if annotator.tally.answers % 25 == 0:
                    typer.echo(f"{annotator.tally.answers} of {answers} pairs answered.", err=True)
        except SimulationError as problem:
            typer.echo(str(problem), err=True)
            raise typer.Exit(1) from problem
    typer.echo(json.dumps(summary(annotator.tally, flips)))
    if annotator.tally.answers < answers:
        typer.echo(
            f"Only {annotator.tally.answers} of {answers} pairs could be answered: no other pair became ready within "
            f"{patience:g} seconds. Is the engine running, and does the project have prompts?",
            err=True,
        )
        raise typer.Exit(1)


def summary(tally: Tally, flips: float) -> dict[str, float | int | None]:
    """What was answered, and the accuracy that the slips leave to a reward model."""
    return {
        "answers": tally.answers,
        "preferred": tally.preferred,
        "ties": tally.ties,
        "slips": tally.slips,
        "ceiling": ceiling([flips] * tally.preferred) if tally.preferred else None,
        "ceiling_here": 1 - tally.slips / tally.preferred if tally.preferred else None,
    }
