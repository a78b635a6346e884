"""`pairloop create-user` and `pairloop create-token`."""

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from app.accounts.commands import commands
from app.accounts.passwords import is_password_of
from app.database import open_session
from app.models import ApiToken, User

EMAIL = "command@example.org"


pytestmark = pytest.mark.usefixtures("committed")


def run(*arguments: str, typed: str = ""):
    return CliRunner().invoke(commands, arguments, input=typed)


def test_it_makes_a_person_with_the_password_on_standard_input() -> None:
    done = run("create-user", "--email", EMAIL, "--roles", "annotator, admin", typed="a good password\n")
    assert (done.exit_code, done.stdout) == (0, f"{EMAIL}\n")
    with open_session() as session:
        person = session.scalars(select(User).where(User.email == EMAIL)).one()
        assert (person.roles, person.kind) == (["annotator", "admin"], "person")
        assert is_password_of(person, "a good password")


def test_a_simulated_annotator_may_go_without_a_password() -> None:
    assert run("create-user", "--email", EMAIL, "--roles", "annotator", "--kind", "simulated").exit_code == 0
    with open_session() as session:
        person = session.scalars(select(User).where(User.email == EMAIL)).one()
        assert (person.kind, person.password_hash) == ("simulated", None)


@pytest.mark.parametrize(
    ("arguments", "typed", "sentence"),
    [
        (("--email", EMAIL, "--roles", "annotator"), "short\n", "Choose one of at least 8."),
        (("--email", EMAIL, "--roles", "annotator"), "", "This password has 0 characters."),
        (("--email", EMAIL, "--roles", "king"), "a good password\n", "There is no role 'king'."),
        (("--email", "nonsense", "--roles", "admin"), "a good password\n", "is not an e-mail address."),
        (("--email", EMAIL, "--roles", "admin", "--kind", "cat"), "a good password\n", "person or simulated"),
    ],
)
def test_bad_input_is_a_sentence_on_standard_error(arguments: tuple[str, ...], typed: str, sentence: str) -> None:
    done = run("create-user", *arguments, typed=typed)
    assert done.exit_code != 0
    assert done.stdout == ""
    assert sentence in done.stderr
    with open_session() as session:
        assert session.scalars(select(User).where(User.email == EMAIL)).all() == []


def test_it_prints_a_token_and_nothing_else() -> None:
    run("create-user", "--email", EMAIL, "--roles", "annotator", "--kind", "simulated")
    done = run("create-token", "--email", EMAIL.upper(), "--name", "n")
    assert done.exit_code == 0
    token = done.stdout.rstrip("\n")
    assert token.startswith("pairloop_")
    with open_session() as session:
        assert [kept.prefix for kept in session.scalars(select(ApiToken))] == [token[:15]]
    unknown = run("create-token", "--email", "nobody@example.org", "--name", "n")
    assert unknown.exit_code != 0
    assert "Nobody here has the e-mail address nobody@example.org." in unknown.stderr
