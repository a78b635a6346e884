"""Every list's page: each heading sorts it both ways, the search stays in its links, an empty one says what to do."""

import html
import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.models import Checkpoint, Project, Run
from tests.pairs import make_answer, make_comparison, make_prompt
from tests.people import browse_as, make_person, make_project

PAGES = {
    "/people": 4,
    "/people/invitations": 0,
    "/audit": 1,
    "/projects": 2,
    "/projects/garden/members": 0,
    "/projects/garden/audit": 0,
    "/projects/garden/prompts": 3,
    "/projects/garden/runs": 1,
    "/projects/garden/checkpoints": 7,
    "/projects/garden/quality": 9,
    "/projects/garden/history": 2,
}
"""Each with how many headings sort it; none where it is empty."""


@pytest.fixture
def project(client: TestClient, session: Session) -> Project:
    """Something in most lists, seen by Olga, who may do everything."""
    olga = make_person(session, "olga", "admin", "operator", "annotator")
    browse_as(client, session, olga)
    project = make_project(session)
    for n, (kind, metrics) in enumerate((("policy", {"win_rate": 0.7}), ("policy", {}), ("reward", {"accuracy": 0.8}))):
        run = Run(project_id=project.id, kind="ppo", status="failed" if n else "succeeded", message=f"Number {n}.")
        session.add(run)
        session.flush()
        told = {"project_id": project.id, "base_model": "tiny", "url": "", "sha256": ""}
        session.add(Checkpoint(run_id=run.id, kind=kind, metrics=metrics, **told))
    alice = make_person(session, "alice", "annotator")
    for person in (olga, alice):
        make_answer(session, make_comparison(session, make_prompt(session, project, f"{person.name}?")), person)
    session.flush()
    return project


@pytest.mark.parametrize("path", PAGES)
def test_every_heading_sorts_both_ways(client: TestClient, project: Project, path: str) -> None:
    shown = client.get(path)
    assert shown.status_code == 200
    links = [html.unescape(link) for link in re.findall(r'class="by" href="([^"]+)"', shown.text)]
    assert len(links) == PAGES[path]
    for link in links:
        once = client.get(link)
        assert once.status_code == 200, once.text
        assert 'aria-sort="ascending"' in once.text or 'aria-sort="descending"' in once.text
        turned = re.search(r'aria-sort="\w+ending"><a class="by" href="([^"]+)"', once.text)
        assert turned is not None
        assert client.get(html.unescape(turned[1])).status_code == 200


def test_runs_are_found_by_kind_status_and_words(client: TestClient, project: Project) -> None:
    def found(q: str) -> list[str]:
        return re.findall(r"Number (\d)\.", client.get("/projects/garden/runs", params={"q": q}).text)

    assert found("") == ["2", "1", "0"]
    assert found("status:failed") == ["2", "1"]
    assert found("kind:ppo status:succeeded") == ["0"]
    assert found("number 1.") == ["1"]
    assert found("kind:import") == []
    assert "No run fits this search." in client.get("/projects/garden/runs?q=nothing").text


def test_only_a_list_as_it_is_is_live(client: TestClient, project: Project) -> None:
    assert 'data-part="list"' in client.get("/projects/garden/runs").text
    assert 'data-part="list"' not in client.get("/projects/garden/runs?q=ppo").text


def test_models_are_sorted_by_a_figure_and_unknown_ones_stand_below(client: TestClient, project: Project) -> None:
    def order(query: str) -> list[str]:
        page = client.get(f"/projects/garden/checkpoints{query}").text
        return re.findall(r">Checkpoint (\d+)</a></td>", page)

    one, two, reward = sorted(order(""), key=int)
    assert order("?kind=policy&sort=-win_rate") == [one, two, reward]
    assert order("?kind=policy&sort=win_rate") == [two, one, reward]
    assert order("?kind=reward&sort=win_rate") == [two, one, reward], "the other list shows its beginning"
