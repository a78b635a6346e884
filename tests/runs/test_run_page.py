"""One run's page in depth: its log, how its answers changed, what interrupted it, runs like it and beside it."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.models import Project, Run, RunMetric, User
from app.private_files import make_private_directory
from app.runs import curves, facts, logs, progress, samples
from app.runs.forms import params_of, typed_of
from app.runs.sentences import headline, trend
from app.settings import settings
from tests.people import bearer, make_person, make_project

PAGE = "/projects/garden/runs"


@pytest.fixture
def operator(session: Session, olga: User) -> dict[str, str]:
    return bearer(session, olga)


def add_run(session: Session, project: Project, kind: str = "ppo", status: str = "running", **more: Any) -> Run:
    run = Run(project_id=project.id, kind=kind, status=status, **more)
    session.add(run)
    session.flush()
    return run


def report(step: int, at: str = "2026-01-01T00:00:00+00:00", phase: str = "ppo", **more: Any) -> dict[str, Any]:
    """A line as a training child prints it."""
    return {"type": "metrics", "phase": phase, "step": step, "total": 9, "metrics": {"reward": 0.1}, "at": at, **more}


def write_log(run: Run, *lines: str) -> None:
    place = settings.data_dir.resolve() / "artifacts" / "runs" / str(run.id)
    make_private_directory(place)
    (place / "log.txt").write_text("".join(f"{line}\n" for line in lines))


def test_the_log_is_searched_and_whatever_it_holds_is_text(
    client: TestClient, session: Session, project: Project, operator: dict[str, str]
) -> None:
    run = add_run(session, project)
    assert "no log yet" in client.get(f"{PAGE}/{run.id}/log", headers=operator).text
    write_log(run, "epoch 1", "<script>alert('KL')</script>", "kl=3", "done")
    whole = client.get(f"{PAGE}/{run.id}/log", headers=operator).text
    assert "4 lines." in whole
    assert "<script>alert" not in whole
    found = client.get(f"{PAGE}/{run.id}/log?q=KL", headers={**operator, "HX-Request": "true"}).text
    assert "2 of 4 lines have it." in found
    assert '<li value="2">&lt;script&gt;alert(&#39;<mark>KL</mark>&#39;)' in found
    assert '<li value="3"><mark>kl</mark>=3</li>' in found
    file = client.get(f"{PAGE}/{run.id}/log.txt", headers=operator)
    assert file.headers["content-type"].startswith("text/plain")
    assert file.text.startswith("epoch 1\n<script>")


def test_of_a_long_log_the_newest_lines_are_shown(session: Session, project: Project) -> None:
    run = add_run(session, project)
    write_log(run, *(f"line {n}" for n in range(1, 3001)))
    found = logs.search(run)
    assert found is not None
    assert (found.total, found.matching, len(found.lines), found.lines[-1]) == (
        3000,
        3000,
        logs.SHOWN,
        (3000, "line 3000"),
    )


def test_only_operators_read_logs_and_compare(client: TestClient, session: Session, project: Project) -> None:
    run = add_run(session, project)
    alice = bearer(session, make_person(session, "alice", "annotator"))
    for name in (f"{run.id}/log", f"{run.id}/log.txt", f"{run.id}/log/live", "compare?ids=1,2"):
        assert client.get(f"{PAGE}/{name}", headers=alice).status_code == 403


def test_a_report_s_time_goes_to_its_phase_and_the_most_memory_is_kept(session: Session, project: Project) -> None:
    run = add_run(session, project, facts={"counted_until": "2026-01-01T00:00:00+00:00", "cpu_before": 5.0})
    used = {"rss_mb": 700.0, "cpu_s": 8.0, "device": "cpu"}
    progress.record(session, run.id, [report(1, "2026-01-01T00:00:10+00:00", "judge", resources=used)])
    less = {"rss_mb": 600.0, "cpu_s": 20.0, "device": "cpu"}
    lines = [report(n, f"2026-01-01T00:00:{10 + 4 * n}+00:00", resources=less) for n in (1, 2)]
    progress.record(session, run.id, lines)
    assert run.facts["phases"] == {"judge": {"seconds": 10.0, "steps": 1}, "ppo": {"seconds": 8.0, "steps": 2}}
    assert (run.facts["peak_mb"], run.facts["cpu_s"]) == (700.0, 25.0)


def test_where_a_run_was_taken_up_again_is_said_and_drawn(
    client: TestClient, session: Session, project: Project, operator: dict[str, str]
) -> None:
    run = add_run(session, project, attempt=1)
    progress.record(session, run.id, [report(n) for n in range(1, 7)])
    progress.put_back(session, run.id, progress.PutBack("The training process was killed (SIGKILL).", crashed=True))
    run.status = "running"
    facts.begin(run)
    progress.record(session, run.id, [report(n) for n in range(7, 10)])
    assert [one["step"] for one in run.facts["interruptions"]] == [7]
    text = client.get(f"{PAGE}/{run.id}", headers=operator).text
    assert "Taken up again at update 7. The training process was killed (SIGKILL)." in text
    assert 'class="again"' in text


def test_the_code_and_the_machine_are_noted_when_a_worker_takes_it_up(session: Session, project: Project) -> None:
    run = add_run(session, project, status="queued")
    taken = progress.take_up(session, run.id)
    assert taken is not None
    assert taken.facts["code"].startswith("0.")
    assert taken.facts["machine"]["cores"] >= 1


def test_answers_keep_their_way_and_every_look_is_marked_against_the_one_before() -> None:
    kept: list[dict[str, Any]] = []
    for step, after in ((2, "Mulch it well"), (4, "Mulch it well"), (6, "Mulch it now")):
        kept = samples.grown(kept, [{"prompt": "p", "before": "Water it well", "after": after}], step)
    (shown,) = samples.shown(kept)
    assert str(shown["after"]) == "<mark>Mulch</mark> it <mark>now</mark>"
    assert [(one["step"], str(one["text"]), one["same"]) for one in shown["looks"]] == [
        (2, "<mark>Mulch</mark> it well", False),
        (4, "Mulch it well", True),
        (6, "Mulch it <mark>now</mark>", False),
    ]
    again = samples.grown(kept, [{"prompt": "p", "before": "Water it well", "after": "Other"}], 4)
    assert [one["step"] for one in again[0]["looks"]] == [2, 4], "what a resumed run draws anew takes its place"


def test_the_headline_says_where_it_stands_and_how_it_goes() -> None:
    run = Run(kind="ppo", status="running", phase="ppo", done=12, total=16)
    rows = [RunMetric(phase="ppo", step=n, metrics={"reward": n / 10, "kl": n / 4}) for n in range(1, 13)]
    said = headline(run, rows, "4 minutes", {"kl_budget": 6.0})
    assert said == "Update 12 of 16, 4 minutes left, reward rising, KL 3.0 of 6."
    run.status = "succeeded"
    assert headline(run, rows, None, {}) is None


def test_a_trend_is_told_from_noise() -> None:
    assert trend([1, 2, 3]) is None
    # Thirds of two: means 1.5 and 5.5; noise 1/2 a step, so the error of the difference is sqrt(1/2), and 4 > 2 x 0.71.
    assert trend([1, 2, 3, 4, 5, 6]) == 1
    assert trend([6, 5, 4, 3, 2, 1]) == -1
    # Means 1.0 and 0.95 beside steps of 0.2 to 0.4.
    assert trend([1.1, 0.9, 1.2, 0.8, 1.1, 0.8]) == 0
    assert trend([2, 2, 2, 2]) == 0


def test_the_limit_of_a_figure_is_drawn_and_the_scale_reaches_it() -> None:
    rows = [RunMetric(phase="ppo", step=n, metrics={"kl": n}) for n in (0, 1, 2)]
    (kl,) = curves.of("ppo", rows, {"kl_budget": 6.0}).curves
    assert (kl.limit, kl.scale.high) == (6.0, 6.0)
    assert kl.places == [[0, 0.0, 6.0, 112.0], [1, 1.0, 128.0, 96.7], [2, 2.0, 250.0, 81.3]]


def test_a_form_is_filled_in_as_a_run_was(
    client: TestClient, session: Session, project: Project, operator: dict[str, str]
) -> None:
    params = {"force": True, "preset": "quick", "seed": 3, "hyper": {"updates": 4, "advantage": "rloo"}}
    assert params_of("ppo", typed_of("ppo", params)) == params
    chain = {"hyper": {"ppo": {"updates": 4}, "reward": {"depth": 0.4}}}
    assert params_of("chain", typed_of("chain", chain)) == chain
    run = add_run(session, project, status="failed", params=params)
    assert f'href="{PAGE}?like={run.id}#start"' in client.get(f"{PAGE}/{run.id}", headers=operator).text
    text = client.get(f"{PAGE}?like={run.id}", headers=operator).text
    assert text.count('name="ppo.updates" inputmode="numeric" placeholder="6" value="4"') == 1, "in its own form alone"
    assert f"as run {run.id} was" in text


def test_runs_are_compared_by_curves_and_by_what_was_set_differently(
    client: TestClient, session: Session, project: Project, operator: dict[str, str]
) -> None:
    ids = []
    for rate in (0.1, 0.2):
        spec = {"hyper": {"learning_rate": rate, "rank": 4}, "seed": 1}
        run = add_run(session, project, status="succeeded", result={"spec": spec, "metrics": {"kl": 3.5}})
        session.add_all(RunMetric(run_id=run.id, phase="ppo", step=n, metrics={"reward": n * rate}) for n in (1, 2))
        ids.append(run.id)
    session.flush()
    text = client.get(f"{PAGE}/compare?ids={ids[0]}&ids={ids[1]}", headers=operator).text
    assert text == client.get(f"{PAGE}/compare?ids={ids[0]},{ids[1]}", headers=operator).text
    assert text.count('class="series"') == 2
    different = text.split("What was set differently")[1].split("<details")[0]
    assert "learning rate" in different
    assert "rank" not in different
    assert "KL to the base model, nats" in text.split("What came of them")[1]


def test_what_cannot_be_compared_is_said(
    client: TestClient, session: Session, project: Project, operator: dict[str, str]
) -> None:
    mine = [add_run(session, project, status="succeeded").id for _ in range(7)]
    other = add_run(session, make_project(session, "orchard"), status="succeeded").id
    for ids in (
        "",
        f"{mine[0]}",
        ",".join(map(str, mine)),
        f"{mine[0]},{other}",
        f"{mine[0]},x",
        f"{mine[0]},{10**30}",
    ):
        answer = client.get(f"{PAGE}/compare", params={"ids": ids}, headers=operator)
        assert answer.status_code == 422
        assert 'class="problem"' in answer.text


def test_labels_of_lines_that_end_together_stand_apart() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    rows = {
        run: [RunMetric(phase="ppo", step=n, metrics={"kl": n + run / 1000}, created_at=at) for n in (1, 2)]
        for run in range(6)
    }
    (overlay,) = curves.overlaid("ppo", rows)
    heights = sorted(line.label_y for line in overlay.lines)
    assert all(b - a >= 13 for a, b in pairwise(heights))
    assert 0 < heights[0] < heights[-1] <= curves.HEIGHT


def test_an_estimate_follows_the_form_and_says_what_is_wrong_in_it(
    client: TestClient, project: Project, operator: dict[str, str]
) -> None:
    address = f"{PAGE}/estimate"
    assert "Nothing is known yet" in client.post(address, data={"kind": "ppo"}, headers=operator).text
    wrong = client.post(address, data={"kind": "ppo", "ppo.updates": "0"}, headers=operator).text
    assert "updates must lie between 1 and" in wrong
    assert client.post(address, data={"kind": "nonsense"}, headers=operator).status_code == 200
