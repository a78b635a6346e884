"""How long a run will take, going by earlier ones: scaled by the work, never guessed."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.models import Project, Run, Snapshot
from app.runs import estimates, facts
from app.runs.hyper import HYPER
from tests.pairs import make_comparison, make_prompt

HERE = {"name": "box", "system": "Linux", "cores": 2}


@pytest.fixture
def snapshot(session: Session, project: Project) -> Snapshot:
    """A hundred answers."""
    found = Snapshot(project_id=project.id, sha256="ab", url="file:///nowhere", manifest={"answers": 100})
    session.add(found)
    session.flush()
    return found


def add_run(
    session: Session,
    project: Project,
    kind: str,
    phases: dict[str, tuple[float, int]],
    machine: dict[str, Any] = HERE,
    snapshot: Snapshot | None = None,
    **hyper: Any,
) -> Run:
    """A finished run with the seconds and steps of its phases."""
    made = HYPER[kind].from_json(hyper, "tiny").to_json()
    run = Run(
        project_id=project.id,
        kind=kind,
        status="succeeded",
        snapshot_id=snapshot.id if snapshot else None,
        result={"spec": {"hyper": made, "base_model": "tiny"}},
        facts={
            "machine": machine,
            "peak_mb": 800.0,
            "phases": {name: {"seconds": seconds, "steps": steps} for name, (seconds, steps) in phases.items()},
        },
    )
    session.add(run)
    session.flush()
    return run


def test_without_an_earlier_run_nothing_is_claimed(session: Session, project: Project) -> None:
    assert estimates.of(session, project, "ppo", {}) is None
    assert "Nothing is known yet" in estimates.sentence(None)


def test_ppo_takes_as_many_times_longer_as_more_tokens_are_drawn(session: Session, project: Project) -> None:
    # 6 updates took 60 s and the first look 5 s; 12 updates of twice the batch are four times the tokens.
    add_run(session, project, "ppo", {"judge": (5.0, 0), "ppo": (60.0, 6)}, updates=6, batch=32)
    found = estimates.of(session, project, "ppo", {"hyper": {"updates": 12, "batch": 64}})
    assert found is not None
    assert found.seconds == pytest.approx(5.0 + 240.0)
    assert (found.runs, found.peak_mb) == (1, 800.0)
    assert "About 4 minutes" in estimates.sentence(found)
    assert "0.8 GB" in estimates.sentence(found)


def test_a_run_that_ended_before_its_last_update_counts_by_those_it_made(session: Session, project: Project) -> None:
    add_run(session, project, "ppo", {"judge": (5.0, 0), "ppo": (30.0, 3)}, updates=6)
    found = estimates.of(session, project, "ppo", {"hyper": {"updates": 6}})
    assert found is not None
    assert found.seconds == pytest.approx(5.0 + 60.0)


def test_several_runs_give_a_median_and_a_range_and_another_machine_s_do_not_count(
    session: Session, project: Project
) -> None:
    add_run(session, project, "ppo", {"judge": (0.0, 0), "ppo": (900.0, 6)}, {**HERE, "name": "old box"}, updates=6)
    for seconds in (50.0, 60.0, 90.0):
        add_run(session, project, "ppo", {"judge": (0.0, 0), "ppo": (seconds, 6)}, updates=6)
    found = estimates.of(session, project, "ppo", {"hyper": {"updates": 6}})
    assert found is not None
    assert (found.low, found.seconds, found.high, found.runs) == (50.0, 60.0, 90.0, 3)


def test_a_reward_run_without_adapters_says_nothing_about_one_with_them(
    session: Session, project: Project, snapshot: Snapshot
) -> None:
    phases = {"read": (10.0, 200), "head": (1.0, 1), "reference": (8.0, 32), "report": (1.0, 1)}
    run = add_run(session, project, "reward", phases, snapshot=snapshot, lora_from_labels=1000)
    alone = HYPER["reward"].from_json({"lora_from_labels": 1000}, "tiny")
    # Twice the answers: reading and report take twice as long, the head and the zero as long as before.
    assert estimates.scaled(run, alone, 200) == pytest.approx(20.0 + 1.0 + 8.0 + 2.0)
    assert estimates.scaled(run, HYPER["reward"].from_json({"lora_from_labels": 50}, "tiny"), 200) is None


def test_a_chain_is_known_only_where_every_step_is(
    session: Session, project: Project, snapshot: Snapshot, answered: None
) -> None:
    add_run(session, project, "ppo", {"judge": (0.0, 0), "ppo": (60.0, 6)}, updates=6)
    add_run(session, project, "evaluate", {"evaluate": (12.0, 16)})
    assert estimates.of(session, project, "chain", {}) is None
    add_run(
        session, project, "reward", {"read": (100.0, 9), "reference": (8.0, 32), "report": (0.0, 1)}, snapshot=snapshot
    )
    assert estimates.of(session, project, "chain", {}) is None
    add_sampling(session, project, 20.0, 10)
    found = estimates.of(session, project, "chain", {})
    assert found is not None
    # One answer now against a hundred then: reading takes 1 s. The stock of 100 pairs is written anew.
    assert found.seconds == pytest.approx(60.0 + 12.0 + 1.0 + 8.0 + 200.0)
    project.sampling = {"stock": 0}
    found = estimates.of(session, project, "chain", {})
    assert found is not None
    assert found.seconds == pytest.approx(60.0 + 12.0 + 1.0 + 8.0)


def add_sampling(session: Session, project: Project, seconds: float, pairs: int) -> None:
    """A finished run that wrote so many pairs in that time."""
    run = Run(project_id=project.id, kind="sample", status="succeeded", facts={"machine": HERE})
    facts.worked(run, "sample", seconds, pairs)
    session.add(run)
    session.flush()


def test_pairs_take_as_long_as_so_many_took_before_and_their_memory_is_the_engine_s(
    session: Session, project: Project
) -> None:
    assert estimates.of(session, project, "sample", {"comparisons": 30}) is None
    add_sampling(session, project, 20.0, 10)
    add_sampling(session, project, 0.1, 0)  # a full stock says nothing
    found = estimates.of(session, project, "sample", {"comparisons": 30})
    assert found is not None
    assert found.seconds == pytest.approx(60.0)
    assert estimates.sentence(found).startswith("About 1 minute, going by one earlier run on")
    project.sampling = {"stock": 40}
    make_comparison(session, make_prompt(session, project))
    found = estimates.of(session, project, "sample", {})
    assert found is not None
    assert found.seconds == pytest.approx(39 * 2.0)
