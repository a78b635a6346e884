"""The web application: every room's routes behind one security layer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from app import __version__
from app.accounts import routes as accounts
from app.chat import routes as chat
from app.checkpoints import routes as checkpoints
from app.datasets import routes as datasets
from app.errors import install_error_handlers
from app.health import api as health
from app.labeling import routes as labeling
from app.languages import SpeakTheirLanguage
from app.live_head import routes as live_head
from app.projects import routes as projects
from app.prompts import routes as prompts
from app.quality import routes as quality
from app.reference import pages as reference
from app.runs import live
from app.runs import routes as runs
from app.templating import ROOT
from app.web_security import WebSecurity

# Labelling is asked most often by far, and the routes are looked through in this order.
ROOMS = (labeling, accounts, projects, prompts, datasets, runs, checkpoints, live_head, chat, quality)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with live.listening():
        yield


def create_app() -> FastAPI:
    """Every room has `pages` (HTML, out of the schema) and `api` (JSON, in /api/v1/openapi.json)."""
    app = FastAPI(
        title="Pairloop",
        version=__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    for room in ROOMS:
        app.include_router(room.pages, include_in_schema=False)
        app.include_router(room.api)
    app.include_router(health)
    app.include_router(reference, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=ROOT / "static"), name="static")
    app.add_middleware(SpeakTheirLanguage)
    app.add_middleware(WebSecurity)
    install_error_handlers(app)
    return app


app = create_app()
