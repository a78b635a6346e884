"""The demo's command line."""

from pathlib import Path
from typing import Annotated

import typer

from app.settings import settings
from app.simulation.commands import known_rule
from app.simulation.gold import RULES
from demo.loop import Plan
from demo.run import demonstrate
from demo.stack import Accounts, DemoError, Stack, started

EPILOG = (
    "Examples: python -m demo --rule warm --answers 500 · python -m demo --base-model tiny --rule length --answers 40 "
    "--force · python -m demo --url http://127.0.0.1:8000 --token OPERATOR --annotator-token ONE --annotator-token TWO"
)
DEFAULT_DATA = settings.data_dir.with_name("pairloop-demo")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EPILOG)
def demo(
    data: Annotated[Path, typer.Option(help="Directory of the demo's Pairloop and its findings.")] = DEFAULT_DATA,
    url: Annotated[str, typer.Option(help="Use the Pairloop that runs at this address instead of an own one.")] = "",
    token: Annotated[str, typer.Option(help="With --url: a token of someone who is admin and operator.")] = "",
    annotator_token: Annotated[
        list[str] | None, typer.Option(help="With --url: a token of a simulated user; several for several annotators.")
    ] = None,
    base_model: Annotated[str, typer.Option(help="The model that learns.")] = "smollm2-135m-instruct",
    rule: Annotated[str, typer.Option(help=f"What the annotators like: {', '.join(sorted(RULES))}.")] = "warm",
    flips: Annotated[float, typer.Option(min=0, max=1, help="Share of choices that are slips.")] = 0.1,
    answers: Annotated[int, typer.Option(min=4, help="How many pairs are labelled in a round.")] = 500,
    rounds: Annotated[int, typer.Option(min=1, help="How often the loop goes round.")] = 1,
    answers_per_prompt: Annotated[int, typer.Option(min=1, help="Measured answers per model and prompt.")] = 4,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 64,
    preset: Annotated[str, typer.Option(help="How thoroughly to train: quick, standard, thorough.")] = "standard",
    seed: Annotated[int, typer.Option(help="Seed of the slips and of the training.")] = 1,
    force: Annotated[bool, typer.Option(help="Go on where a gate says no; the page says so.")] = False,
) -> None:
    """Simulated annotators label, Pairloop trains, and one page says what came of it."""
    plan = Plan(
        base_model=base_model,
        rule=known_rule(rule),
        flips=flips,
        answers=answers,
        rounds=rounds,
        seed=seed,
        force=force,
        max_tokens=max_tokens,
        preset=preset,
        answers_per_prompt=answers_per_prompt,
    )
    data = data.expanduser().resolve()
    try:
        if url:
            if not token or not annotator_token:
                raise DemoError("With --url, give --token and at least one --annotator-token as well.")
            files = demonstrate(Stack(url.rstrip("/"), Accounts(token, annotator_token)), plan, data)
        else:
            with started(data, base_model) as stack:
                files = demonstrate(stack, plan, data)
    except DemoError as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(1) from problem
    if not url:
        typer.echo(
            f"Browse the project: pairloop up --data {data}, then sign in with the account in "
            f"{data / 'demo-accounts.json'}.",
            err=True,
        )
    typer.echo(files["page"])


def main() -> None:
    """Run the command line."""
    app()
