"""The project that is there when Pairloop starts for the first time: prompts, guidelines, pairs on their way."""

from sqlalchemy import exists, select, text
from sqlalchemy.orm import Session

from app.models import Project
from app.projects import projects
from app.projects.forms import served_bases
from app.projects.schemas import NewProject
from app.prompts import prompts
from app.prompts.bodies import entries
from app.settings import settings
from app.templating import ROOT

DATA = ROOT / "data"
# Few enough that the pairs of a newly trained model are soon on the page, enough that one person never waits.
STOCK = 40
EVERY = 200


def make_first_project(session: Session) -> Project | None:
    """Make it where there is no project at all, archived ones included; None where there is one. Asks for pairs."""
    # Two starters at once on one database make one project.
    session.execute(text("select pg_advisory_xact_lock(hashtext('pairloop first project'))"))
    if session.scalar(select(exists().select_from(Project))):
        return None
    bases = served_bases()
    project = projects.create(
        session,
        None,
        NewProject(
            name="First project",
            guidelines=(DATA / "guidelines.md").read_text(encoding="utf-8"),
            base_model=settings.base_model if settings.base_model in bases else bases[0],
            sampling={"stock": STOCK},
            retraining={"every": EVERY},
        ),
    )
    with (DATA / "prompts.jsonl").open("rb") as file:
        # With the prompts comes the first sample run: fewer pairs wait than half the stock.
        prompts.add(session, project, entries(file), source="pairloop")
    return project
