"""`pairloop export-reward`: a reward model for programs that know nothing of Pairloop."""

import importlib
from pathlib import Path
from typing import Annotated

import typer

from app.database import open_session
from app.models import Checkpoint

commands = typer.Typer()


@commands.command(epilog="Example: pairloop export-reward --checkpoint 7 --to reward-model-7")
def export_reward(
    checkpoint: Annotated[int, typer.Option(help="The reward model's number, as its page shows it.", min=1)],
    to: Annotated[Path, typer.Option(help="The directory to write; it must be new or empty.")],
) -> None:
    """Write a reward model as a Hugging Face directory.

    Adapters are merged into float32 weights. README.md in the directory says how to load it.
    """
    with open_session() as session:
        found = session.get(Checkpoint, checkpoint)
        if found is None or found.kind != "reward":
            typer.echo(f"There is no reward model {checkpoint}. The page of models lists what there is.", err=True)
            raise typer.Exit(1)
        given = found.base_model, found.url, found.sha256
    try:
        plain = importlib.import_module("workers.reward.export").export_checkpoint(*given, to)
    except (OSError, ValueError) as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(1) from problem
    how = "AutoModelForSequenceClassification or reward_model.py" if plain else "reward_model.py"
    typer.echo(f"Load it with {how} from that directory; its README.md shows how.", err=True)
    typer.echo(to)
