"""The command `pairloop`. Standard output carries the result alone; logs and messages go to standard error."""

import contextlib
import importlib
import logging
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from sqlalchemy.exc import OperationalError

from app import __version__
from app.accounts.commands import commands as accounts
from app.checkpoints.commands import commands as checkpoints
from app.datasets.commands import commands as datasets
from app.prompts.commands import commands as prompts
from app.runs.commands import commands as runs
from app.settings import settings
from app.simulation.commands import commands as simulation

log = logging.getLogger("pairloop")
app = typer.Typer(
    help="Reinforcement learning from human feedback as one closed loop.",
    epilog="Every command has an example: pairloop COMMAND --help. docs/settings.md lists the PAIRLOOP_* variables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for room in (accounts, prompts, datasets, runs, checkpoints, simulation):
    app.add_typer(room)

# They make their own database, need none, or go through the HTTP API.
WITHOUT_DATABASE = ("up", "engine", "import", "export", "run", "simulate")

Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine's.")]
Port = Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)]


def main() -> None:
    """Run the command line."""
    style = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(format=style, datefmt="%H:%M:%S", level=logging.INFO)
    for chatty in ("alembic", "httpx", "procrastinate", "uvicorn"):  # each step and each look at the clock
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        app()
    except OperationalError as problem:
        sys.exit(f"The database does not answer: {str(problem.orig).splitlines()[0]}. Check PAIRLOOP_DATABASE_URL.")


def fail(sentence: str) -> NoReturn:
    """End the command with a sentence on standard error."""
    typer.echo(sentence, err=True)
    raise typer.Exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def pairloop(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Reinforcement learning from human feedback as one closed loop."""
    asks_for_help = not {"--help", "-h"}.isdisjoint(sys.argv)
    if context.invoked_subcommand not in WITHOUT_DATABASE and not settings.database_url and not asks_for_help:
        settings.database_url = _running_database()


@app.command(epilog="Example: pairloop up --host 0.0.0.0 --port 8000 --data ~/pairloop")
def up(
    host: Host = settings.host,
    port: Port = settings.port,
    data: Annotated[Path, typer.Option(help="Directory for the database and everything made.")] = settings.data_dir,
) -> None:
    """Start everything on this machine.

    Postgres, the pages, two workers and the language model run as children of this command and end with it.
    """
    from app.embedded_postgres import PostgresError
    from app.up import CannotStart
    from app.up import up as start

    settings.host, settings.port, settings.data_dir = host, port, data.expanduser().resolve()
    try:
        start()
    except (CannotStart, PostgresError) as problem:
        fail(str(problem))


@app.command(epilog="Example: pairloop web --host 0.0.0.0 --port 8000")
def web(
    host: Host = settings.host,
    port: Port = settings.port,
    access_log: Annotated[bool, typer.Option(help="Log every request.")] = False,
) -> None:
    """Serve the pages and the JSON API. Any number of these may run."""
    import uvicorn

    log.info("Serving the pages on port %d of %s.", port, host)
    logging.getLogger("uvicorn.access").setLevel(logging.INFO)
    uvicorn.run(
        "app.main:app",
        host=host,
        port=port,
        access_log=access_log,
        log_config=None,
        server_header=False,
        # Live pages hold their connection open; without this the process would wait for them for ever.
        timeout_graceful_shutdown=3,
    )


@app.command(epilog="Example: pairloop worker --queues train --concurrency 1")
def worker(
    queues: Annotated[str, typer.Option(help="Queues to serve, separated by commas: default, train.")] = "default",
    concurrency: Annotated[int, typer.Option(help="Jobs at the same time.", min=1)] = 4,
) -> None:
    """Do queued and periodic jobs.

    Training runs in child processes of the worker that serves the queue `train`.
    """
    names = [name.strip() for name in queues.split(",") if name.strip()]
    log.info("Serving the queues %s.", ", ".join(names))
    importlib.import_module("workers.jobs").work(names, concurrency)


@app.command(epilog="Example: pairloop engine --port 8100 --base-model tiny")
def engine(
    host: Host = "127.0.0.1",
    port: Port = 8100,
    base_model: Annotated[str, typer.Option(help="Name or directory of the base model.")] = settings.base_model,
) -> None:
    """Serve the language model over HTTP.

    It speaks the OpenAI-compatible API and loads checkpoints when they are first asked for.
    """
    module = importlib.import_module("workers.language.engine")
    sys.exit(module.main(["--host", host, "--port", str(port), "--base-model", base_model]))


@app.command(epilog="Example: PAIRLOOP_DATABASE_URL=postgresql+psycopg://user:password@host/name pairloop migrate")
def migrate() -> None:
    """Bring the database up to date.

    Run it once before a new version starts. Makes the first project where there is none.
    """
    from app.database import migrate as bring_up_to_date
    from app.database import open_session
    from app.projects.first import make_first_project

    bring_up_to_date()
    with open_session() as session:
        make_first_project(session)


def _running_database() -> str:
    """The URL of the embedded Postgres while `pairloop up` runs; without one the command ends with a sentence."""
    from app.embedded_postgres import PostgresError, Server

    home = settings.data_dir.expanduser() / "postgres"
    with contextlib.suppress(PostgresError, OSError):
        server = Server(home)
        if server.live_pid():
            return server.url()
    fail(
        f"There is no database to work with: PAIRLOOP_DATABASE_URL is not set, and no `pairloop up` of this user runs "
        f"with the data directory {settings.data_dir}. Set PAIRLOOP_DATABASE_URL to a Postgres of version 15 to 18, "
        "such as postgresql+psycopg://pairloop:password@localhost/pairloop, or PAIRLOOP_DATA_DIR to the directory of "
        "the one that runs, or start everything with: pairloop up"
    )


if __name__ == "__main__":
    main()
