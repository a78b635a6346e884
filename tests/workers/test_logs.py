"""A run's log: kept whole beside its artefacts, and on the machine that wrote it only for a while."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.models import Project, Run, now
from app.runs import logs as shown
from app.settings import settings
from tests.people import make_project
from workers import artifacts, logs
from workers.logs import RunLog


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests had runs of the same numbers."""
    monkeypatch.setattr(settings, "data_dir", tmp_path)
    monkeypatch.setattr(settings, "artifacts_url", (tmp_path / "artifacts").as_uri())


def add_run(session: Session, project: Project, status: str, days: float = 0) -> Run:
    ended = None if status == "running" else now() - timedelta(days=days)
    run = Run(project_id=project.id, kind="reward", status=status, finished_at=ended)
    session.add(run)
    session.flush()
    return run


def test_what_was_written_is_copied_at_the_end_whatever_that_is(session: Session) -> None:
    run = add_run(session, make_project(session), "running")

    def broken() -> None:
        with RunLog(run.id) as log:
            log.write("the last line")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    found = shown.search(run, "last")
    assert found is not None
    assert found.matching == 1


def test_old_logs_leave_this_machine_and_stay_beside_the_artefacts(session: Session) -> None:
    project = make_project(session)
    kept = [RunLog(add_run(session, project, status, days).id) for status, days in (("running", 0), ("failed", 6))]
    copied, lost = (RunLog(add_run(session, project, "succeeded", 8).id) for _ in range(2))
    copied.copy()
    copied.write("written after the copy by nobody")
    nobodys = RunLog(10**9)
    logs.forget_old(session)
    assert [one.file.exists() for one in (*kept, copied, lost, nobodys)] == [True, True, False, False, False]
    assert artifacts.read_file(shown.address_of(copied.run_id)).count(b"\n") == 1
    assert artifacts.read_file(shown.address_of(lost.run_id)).count(b"\n") == 1
    with pytest.raises(artifacts.ArtifactDamaged):
        artifacts.read_file(shown.address_of(nobodys.run_id))
