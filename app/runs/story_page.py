"""How it learns: the page for laymen, and what a new annotator reads first."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from app.accounts.access import MemberOf, page_context
from app.database import Transaction
from app.runs import loop, samples, story
from app.templating import environment, page

pages = APIRouter(prefix="/projects/{slug}/how-it-learns")


@pages.get("")
def how_it_learns(request: Request, session: Transaction, access: MemberOf) -> Response:
    told = story.of(session, access.project)
    answer = told.answer
    changed = samples.shown([{"prompt": "", "before": answer.before, "after": answer.after}])[0] if answer else None
    # Texts of the project are for those who have a part in it.
    values = {"told": told, "changed": changed, "s": loop.of(session, access.project), "may_read": bool(access.roles)}
    return page(request, "runs/how_it_learns.html", page_context(access, "how-it-learns") | values)


@pages.get("/scores")
def scores(session: Transaction, access: MemberOf) -> Response:
    """What the reward model gives the two answers; asked for by the page, because the engine may take its time."""
    found = story.scores(session, access.project) if access.roles else None
    return HTMLResponse(environment.get_template("runs/_scores.html").render({"scores": found}))
