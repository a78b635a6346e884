"""An answer is undone until a snapshot holds it; from then on it can only be corrected."""

from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.datasets import snapshots
from app.datasets.filters import Filters
from app.models import Answer
from tests.pairs import make_comparison, make_prompt
from tests.people import bearer, make_person, make_project


def test_undo_is_refused_once_a_snapshot_holds_the_answer(client: TestClient, session: Session) -> None:
    project = make_project(session)
    make_comparison(session, make_prompt(session, project))
    headers = bearer(session, make_person(session, "alice", "annotator"))
    claim = client.post("/api/v1/projects/garden/assignments", headers=headers).json()
    path = f"/api/v1/assignments/{claim['assignment']}/answer"
    answer = {"verdict": "preferred", "preferred": claim["responses"][0]["id"], "strength": 2}
    assert client.post(path, headers=headers, json=answer).status_code == 200
    assert client.delete(path, headers=headers).status_code == 204
    assert session.query(Answer).count() == 0
    assert client.post(path, headers=headers, json=answer).status_code == 200
    snapshot = snapshots.take(session, project, Filters())
    refused = client.delete(path, headers=headers)
    assert refused.status_code == 409
    assert str(snapshot.id) in refused.json()["detail"] or snapshot.sha256[:12] in refused.json()["detail"]
    assert session.query(Answer).count() == 1
