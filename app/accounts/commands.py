"""Commands about people, for set-up and scripts: `pairloop create-user`, `pairloop create-token`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from app.accounts import people, tokens
from app.database import open_session
from app.errors import DomainError

commands = typer.Typer(no_args_is_help=True)

Email = Annotated[str, typer.Option(help="The e-mail address of the person.")]


@commands.command(
    epilog="Example: echo 'a long password' | pairloop create-user --email eve@example.org --roles annotator,admin"
)
def create_user(
    email: Email,
    roles: Annotated[str, typer.Option(help="Of annotator, admin and operator, separated by commas.")],
    kind: Annotated[str, typer.Option(help="person, or simulated for a program that plays an annotator.")] = "person",
    name: Annotated[str, typer.Option(help="The name that others see.")] = "",
) -> None:
    """Make a person who signs in with the password on standard input.

    A simulated annotator may go without a password and use an API token.
    """
    if kind not in ("person", "simulated"):
        raise typer.BadParameter("The kind is person or simulated.", param_hint="--kind")
    password = "" if sys.stdin.isatty() and kind == "simulated" else _password()
    wanted = [role.strip() for role in roles.split(",") if role.strip()]
    secret = None if kind == "simulated" and not password else password
    with _transaction() as session:
        person = people.create_user(session, email, wanted, secret, kind, name)
    typer.echo(person.email)


@commands.command(epilog="Example: pairloop create-token --email eve@example.org --name nightly-import")
def create_token(
    email: Email, name: Annotated[str, typer.Option(help="What the token is for, such as the program using it.")]
) -> None:
    """Print a new API token of a person. It is shown only this once."""
    with _transaction() as session:
        token = tokens.create_token(session, people.by_email(session, email), name)
    typer.echo(token)


@contextmanager
def _transaction() -> Iterator[Session]:
    # What a person typed wrong is told in its own sentence, without the lines of code it passed through.
    try:
        with open_session() as session:
            yield session
    except DomainError as problem:
        typer.echo(problem.message, err=True)
        raise typer.Exit(1) from problem


def _password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")
