"""What a worker does with a run: take it up, train in a child, end it in words, survive every crash."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from sqlalchemy import select, text

from app.checkpoints import checkpoints
from app.database import open_session
from app.models import Checkpoint, Comparison, Project, RunMetric, User
from app.runs import fence, logs, runs
from app.settings import settings
from tests.pairs import make_answer, make_comparison, make_prompt
from tests.people import make_person, make_project
from tests.workers.worker import SAY, cancel, state, wait_until, work_until_idle, worker
from workers import launch, periodic

GOOD = {"passed": True, "why": "The reward model tells people's choices apart."}
BAD = {"passed": False, "why": "The reward model's interval still includes chance: 61 % [48 %, 72 %]."}
RESULT = {"checkpoint": {"url": "file:///nowhere", "sha256": "00"}, "metrics": {"accuracy": 0.7}, "gate": GOOD}


@pytest.fixture
def project(committed: None) -> Project:
    """A project with one answered pair and one prompt; its stock stays empty."""
    with open_session() as session:
        project = make_project(session)
        project.sampling = {"stock": 0}
        prompt = make_prompt(session, project)
        olga = make_person(session, "olga", "operator")
        make_answer(session, make_comparison(session, prompt, status="complete"), olga)
    return project


def start(project: Project, kind: str = "reward", **params: object) -> int:
    with open_session() as session:
        olga = session.scalars(select(User).where(User.email == "olga@example.org")).one()
        return runs.start(session, session.get_one(Project, project.id), kind, params, olga).id


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Code that takes the trainer's place in the children of a worker in this process; a real process all the same."""
    code = [f"say(type='result', result={RESULT!r})"]
    monkeypatch.setattr(launch, "training_command", lambda spec: [sys.executable, "-c", SAY + code[0], spec])
    return code


def test_a_run_writes_its_spec_trains_and_registers_what_it_made(project: Project, child: list[str]) -> None:
    child[0] = (
        "spec = json.load(open(sys.argv[1].removeprefix('file://')))\n"
        "say(type='metrics', phase='adapters', step=1, total=3, metrics={'loss': 0.7, 'nll': float('nan')}, text='')\n"
        "say(type='metrics', phase='adapters', step=2, total=3, metrics={'loss': 0.6}, text='')\n"
        "say(type='metrics', phase='adapters', step=2, total=3, metrics={'loss': 0.5}, text='')\n"
        "say(type='samples', items=[{'prompt': 'p', 'before': 'b', 'after': 'a'}])\n"
        f"say(type='result', result={RESULT!r})"
    )
    run_id = start(project, hyper={"lora_rank": 3}, seed=7)
    work_until_idle()
    run = state(run_id)
    assert (run.status, run.error, run.message, run.attempt) == ("succeeded", None, GOOD["why"], 1)
    assert (run.phase, run.done, run.total) == ("adapters", 2, 3)
    found = logs.search(run)
    assert found is not None
    said = "\n".join(str(line) for _number, line in found.lines)
    assert "Pairloop 0." in said, "who took it up comes first"
    assert "adapters 2/3" in said, "every report is a line of the log"
    assert run.samples == [{"prompt": "p", "before": "b", "after": "a", "looks": [{"step": 2, "text": "a"}]}]
    spec = json.loads(Path(settings.data_dir, "artifacts", "runs", str(run_id), "spec.json").read_text())
    assert (spec["run"], spec["kind"], spec["seed"], spec["hyper"]["lora_rank"]) == (str(run_id), "reward", 7, 3)
    assert spec["snapshot"]["sha256"] in spec["snapshot"]["url"]
    prompts = Path(spec["prompts"]["url"].removeprefix("file://")).read_text().splitlines()
    assert [json.loads(line)["messages"][0]["content"] for line in prompts] == ["What is a hedge?"]
    with open_session() as session:
        reported = session.execute(select(RunMetric.step, RunMetric.metrics).order_by(RunMetric.step)).all()
        assert [tuple(row) for row in reported] == [(1, {"loss": 0.7, "nll": None}), (2, {"loss": 0.5})]
        made = session.scalars(select(Checkpoint)).one()
        assert (made.kind, made.status, made.run_id, made.snapshot_id) == (
            "reward",
            "promoted",
            run_id,
            run.snapshot_id,
        )
        assert made.metrics == {"accuracy": 0.7}


def test_a_run_whose_figures_are_severely_wrong_is_ended_where_the_project_says_so(
    project: Project, child: list[str]
) -> None:
    with open_session() as session:
        session.get_one(Project, project.id).retraining = {"stop_when_wrong": True}
    child[0] = (
        "say(type='metrics', phase='adapters', step=1, total=3, metrics={'loss': float('nan')}, text='')\n"
        "time.sleep(60)"
    )
    run_id = start(project)
    work_until_idle()
    run = state(run_id)
    assert run.status == "failed"
    assert "At step 1 “loss” was no number any more (NaN)." in str(run.error)
    assert "The project's policy ends such a run." in str(run.error)


def test_dpo_reads_a_snapshot_and_makes_a_policy_without_parents(project: Project, child: list[str]) -> None:
    run_id = start(project, "dpo", hyper={"beta": 0.3})
    work_until_idle()
    spec = json.loads(Path(settings.data_dir, "artifacts", "runs", str(run_id), "spec.json").read_text())
    assert (spec["kind"], spec["hyper"]["beta"]) == ("dpo", 0.3)
    assert spec["parents"] == {"reward": None, "policy": None}
    assert spec["snapshot"] is not None
    with open_session() as session:
        made = session.scalars(select(Checkpoint)).one()
        assert (made.kind, made.status, made.reward_parent_id) == ("policy", "candidate", None)
        assert made.snapshot_id == state(run_id).snapshot_id is not None


def test_a_reward_model_that_fails_its_gate_stays_a_candidate_unless_forced(project: Project, child: list[str]) -> None:
    child[0] = f"say(type='result', result={ {**RESULT, 'gate': BAD}!r})"
    start(project)
    work_until_idle()
    with open_session() as session:
        assert session.scalars(select(Checkpoint)).one().status == "candidate"
    start(project, force=True)
    work_until_idle()
    with open_session() as session:
        forced = checkpoints.promoted(session, project.id, "reward")
        assert forced is not None
        assert forced.gate == {**BAD, "forced": True}


def test_people_are_asked_again_about_what_surprised_a_reward_model(project: Project, child: list[str]) -> None:
    with open_session() as session:
        (pair,) = session.scalars(select(Comparison)).all()
    surprising = [{"comparison": str(pair.id), "probability": 0.02}]
    child[0] = f"say(type='result', result={ {**RESULT, 'surprising': surprising}!r})"
    first, second = start(project), start(project)
    work_until_idle()
    assert state(first).message == f"{GOOD['why']} People are asked again about surprising answers: 1."
    assert state(second).message == GOOD["why"], "it waits already"
    with open_session() as session:
        (repeat,) = session.scalars(select(Comparison).where(Comparison.purpose == "repeat")).all()
        assert (repeat.response_a_id, repeat.status, repeat.run_id) == (pair.response_a_id, "waiting", first)


def test_the_childs_own_sentence_is_the_runs_error(project: Project, child: list[str]) -> None:
    child[0] = "print('why', file=sys.stderr); say(type='error', message='Label at least eight pairs.'); sys.exit(1)"
    run_id = start(project)
    work_until_idle()
    run = state(run_id)
    assert (run.status, run.error) == ("failed", "Label at least eight pairs.")
    assert run.result["log"] == "why\n"


def test_a_killed_child_is_taken_up_again_and_in_the_end_explained(project: Project, child: list[str]) -> None:
    child[0] = "os.kill(os.getpid(), signal.SIGKILL)"
    run_id = start(project)
    work_until_idle()
    run = state(run_id)
    assert (run.status, run.attempt) == ("failed", 5)
    assert run.error is not None
    assert "memory" in run.error


def test_it_goes_on_after_one_kill(project: Project, child: list[str], tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child[0] = (
        f"import pathlib; mark = pathlib.Path({str(mark)!r})\n"
        "if not mark.exists(): mark.touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
        f"say(type='result', result={RESULT!r})"
    )
    run_id = start(project)
    work_until_idle()
    assert (state(run_id).status, state(run_id).attempt) == ("succeeded", 2)


def test_a_second_training_waits_for_the_first(project: Project, child: list[str]) -> None:
    first, second = start(project), start(project)
    with open_session() as session:
        session.execute(text("update runs set status = 'running' where id = :id"), {"id": first})
        session.execute(text("delete from jobs.procrastinate_jobs where (args ->> 'run_id')::int = :id"), {"id": first})
    with fence.hold(first):
        work_until_idle()
    assert (state(second).status, state(second).message) == ("queued", f"Waits until run {first} has finished.")
    with open_session() as session:
        waiting = session.scalars(
            text("select scheduled_at is not null from jobs.procrastinate_jobs where status = 'todo' and args = :args"),
            {"args": json.dumps({"run_id": second})},
        ).all()
    assert waiting == [True]


def test_a_run_that_another_worker_holds_is_left_alone(project: Project, child: list[str]) -> None:
    run_id = start(project)
    with fence.hold(run_id):
        work_until_idle()
    assert state(run_id).status == "queued"


def test_a_run_cancelled_before_its_turn_never_starts(project: Project, child: list[str]) -> None:
    run_id = start(project)
    cancel(run_id)
    work_until_idle()
    assert (state(run_id).status, state(run_id).started_at) == ("cancelled", None)


def test_a_running_run_is_cancelled_within_two_seconds(project: Project) -> None:
    code = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); say(type='metrics', phase='x', step=1, total=2); time.sleep(60)"
    )
    with worker(child=code):
        run_id = start(project)
        wait_until(lambda: state(run_id).phase == "x")
        cancel(run_id)
        assert wait_until(lambda: state(run_id).status == "cancelled") < 2.0


PATIENT = (
    "say(type='metrics', phase='x', step=1, total=2, metrics={'pid': os.getpid()})\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
    "time.sleep(60)"
)


def child_pid(run_id: int) -> int | None:
    with open_session() as session:
        row = session.scalar(select(RunMetric).where(RunMetric.run_id == run_id))
        return row.metrics["pid"] if row else None


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_worker_takes_its_child_along_and_the_next_one_takes_the_run_up(project: Project) -> None:
    run_id = start(project)
    with worker(child=PATIENT) as first:
        wait_until(lambda: child_pid(run_id) is not None)
        pid = child_pid(run_id)
        assert pid is not None
        first.kill()
        wait_until(lambda: not is_alive(pid))
    assert state(run_id).status == "running", "nobody was left to say otherwise"
    wait_until(lambda: stalled_for(2.5))
    with worker(child=f"say(type='result', result={RESULT!r})"):
        wait_until(lambda: state(run_id).status == "succeeded")
    assert state(run_id).attempt == 2


def stalled_for(seconds: float) -> bool:
    with open_session() as session:
        query = "select bool_and(last_heartbeat < now() - make_interval(secs => :s)) from jobs.procrastinate_workers"
        return bool(session.scalar(text(query), {"s": seconds}))


def test_a_stopped_worker_ends_its_child_and_puts_the_run_back(project: Project) -> None:
    run_id = start(project)
    with worker(child=PATIENT) as first:
        wait_until(lambda: child_pid(run_id) is not None)
        first.send_signal(signal.SIGTERM)
        first.wait(8)
    run = state(run_id)
    assert (run.status, run.attempt) == ("queued", 1)
    pid = child_pid(run_id)
    assert pid is not None
    assert not is_alive(pid)
    with worker(child=f"say(type='result', result={RESULT!r})"):
        wait_until(lambda: state(run_id).status == "succeeded")


def test_a_run_without_a_job_gets_a_new_one(project: Project, child: list[str]) -> None:
    run_id = start(project)
    with open_session() as session:
        session.execute(text("delete from jobs.procrastinate_jobs"))
    periodic._requeue_lost_runs()
    periodic._requeue_lost_runs()
    with open_session() as session:
        assert session.scalar(text("select count(*) from jobs.procrastinate_jobs")) == 1
    work_until_idle()
    assert state(run_id).status == "succeeded"


def test_jobs_never_import_torch() -> None:
    code = "import sys, workers.jobs; sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'peft')))"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
