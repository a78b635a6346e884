"""`make screenshots`: README's pictures, taken from the project that `make demo` left."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import Browser, Page, sync_playwright

from demo.client import Client
from demo.commands import DEFAULT_DATA
from demo.loop import ROOT
from demo.stack import DemoError, Stack, started

IMAGES = ROOT / "docs" / "images"
WIDTH, HEIGHT = 1280, 800
LARGEST = 250_000  # bytes
CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def take(data: Path, base_model: str, directory: Path) -> list[Path]:
    """Start the demo's Pairloop, sign in and take the pictures; return where they lie."""
    directory.mkdir(parents=True, exist_ok=True)
    with started(data, base_model) as stack, browser() as chromium:
        if not stack.accounts.password:
            raise DemoError("The demo's account has no password here. Run `make demo` with its own data directory.")
        with Client(stack.url, stack.accounts.token) as client:
            slug, run = newest_demo(client)
        label, training = f"/projects/{slug}/label", f"/projects/{slug}/runs/{run}"
        return [
            picture(chromium, stack, path, scheme, directory / f"{name}-{scheme}.png")
            for name, path in (("label", label), ("run", training))
            for scheme in ("light", "dark")
        ]


def newest_demo(client: Client) -> tuple[str, str]:
    """The newest demo project's slug and its newest finished PPO run."""
    for project in client.items("/api/v1/projects"):
        if project["name"] == "Demo":
            for run in client.items(f"/api/v1/projects/{project['slug']}/runs"):
                if run["kind"] == "ppo" and run["status"] == "succeeded":
                    return project["slug"], run["id"]
    raise DemoError("There is no demo project with a finished PPO run here. Run `make demo` first.")


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium without a window: the system's where there is one, else Playwright's own."""
    with sync_playwright() as playwright:
        installed = next((path for path in CHROMIUM if Path(path).exists()), None)
        chromium = playwright.chromium.launch(executable_path=installed, args=FLAGS)
        yield chromium
        chromium.close()


def picture(chromium: Browser, stack: Stack, path: str, scheme: str, file: Path) -> Path:
    """Sign in, open the page in one colour scheme and keep what the first screen shows."""
    context = chromium.new_context(
        base_url=stack.url,
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": WIDTH, "height": HEIGHT},
        reduced_motion="reduce",
    )
    page = context.new_page()
    sign_in(page, stack, path)
    page.screenshot(path=file)
    context.close()
    if file.stat().st_size > LARGEST:
        raise DemoError(f"{file} has {file.stat().st_size} bytes; README's pictures should stay below {LARGEST}.")
    return file


def sign_in(page: Page, stack: Stack, path: str) -> None:
    """Sign in with the demo's account and go on to the page."""
    page.goto(f"/sign-in?next={path}")
    page.locator("input[name=email]").fill(stack.accounts.email)
    page.locator("input[name=password]").fill(stack.accounts.password)
    page.locator("form button.primary").click()
    page.wait_for_url(f"**{path}*")
    page.wait_for_load_state("load")
    if page.locator(".first-said").count():
        # The account that only ever used the API reads the guidelines now.
        page.keyboard.press("Enter")
        page.locator("#desk[data-assignment]").wait_for()


def main(
    data: Annotated[Path, typer.Option(help="Data directory of an earlier demo.")] = DEFAULT_DATA,
    base_model: Annotated[str, typer.Option(help="The model of that demo.")] = "smollm2-135m-instruct",
    to: Annotated[Path, typer.Option(help="Where the pictures go.")] = IMAGES,
) -> None:
    """Take README's pictures."""
    try:
        for file in take(data.expanduser().resolve(), base_model, to):
            typer.echo(f"{file} ({file.stat().st_size // 1000} kB)")
    except DemoError as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(1) from problem


if __name__ == "__main__":
    typer.run(main)
