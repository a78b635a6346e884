"""`pairloop export-reward` and `export-policy`: models for programs that know nothing of Pairloop."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.checkpoints import cards
from app.database import open_session
from app.models import Checkpoint

commands = typer.Typer()


class Form(StrEnum):
    """What is written of a policy."""

    merged = "merged"
    adapter = "adapter"


@commands.command(epilog="Example: pairloop export-reward --checkpoint 7 --to reward-model-7")
def export_reward(
    checkpoint: Annotated[int, typer.Option(help="The reward model's number, as its page shows it.", min=1)],
    to: Annotated[Path, typer.Option(help="The directory to write; it must be new or empty.")],
) -> None:
    """Write a reward model as a Hugging Face directory.

    Adapters are merged into float32 weights. README.md in the directory says how to load it.
    """
    given, _card = _found("reward", checkpoint)
    with _problems_as_sentences():
        plain = importlib.import_module("workers.reward.export").export_checkpoint(*given, to)
    how = "AutoModelForSequenceClassification or reward_model.py" if plain else "reward_model.py"
    typer.echo(f"Load it with {how} from that directory; its README.md shows how.", err=True)
    typer.echo(to)


@commands.command(epilog="Example: pairloop export-policy --checkpoint 12 --to policy-12")
def export_policy(
    checkpoint: Annotated[int, typer.Option(help="The policy's number, as its page shows it.", min=1)],
    to: Annotated[Path, typer.Option(help="The directory to write; it must be new or empty.")],
    form: Annotated[Form, typer.Option(help="The whole model, or the adapter alone.")] = Form.merged,
) -> None:
    """Write a policy as a Hugging Face directory, with its model card.

    merged: weights in float32 with the adapter in them; adapter: PEFT's two files.
    """
    given, card = _found("policy", checkpoint)
    module = importlib.import_module("workers.language.merged")
    with _problems_as_sentences():
        write = module.export_checkpoint if form is Form.merged else module.export_adapter
        write(*given, to)
        (to / "README.md").write_text(card)
    how = "AutoModelForCausalLM" if form is Form.merged else "PeftModel, on its base model,"
    typer.echo(f"Load it with {how} from that directory.", err=True)
    typer.echo(to)


def _found(kind: str, checkpoint: int) -> tuple[tuple[str, str, str], str]:
    """Base model, address and hash of a model of this kind, and its card; ends the command where there is none."""
    with open_session() as session:
        found = session.get(Checkpoint, checkpoint)
        if found is None or found.kind != kind:
            called = "reward model" if kind == "reward" else kind
            typer.echo(f"There is no {called} {checkpoint}. The page of models lists what there is.", err=True)
            raise typer.Exit(1)
        return (found.base_model, found.url, found.sha256), cards.markdown(session, found)


@contextmanager
def _problems_as_sentences() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(1) from problem
