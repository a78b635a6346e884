"""What looks wrong in a run's figures: each rule on figures that can be checked by hand."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.models import Project, Run, RunMetric
from app.runs import progress, warnings
from app.runs.progress import Failed

BUDGET = {"kl_budget": 6.0}


def rows(phase: str = "ppo", **series: list[float | None]) -> list[RunMetric]:
    """One report a step; an empty place in a series is a figure that was no number."""
    count = max(map(len, series.values()))
    steps = [{name: values[n] for name, values in series.items() if n < len(values)} for n in range(count)]
    return [RunMetric(phase=phase, step=n, metrics=metrics) for n, metrics in enumerate(steps, start=1)]


def names(reports: list[RunMetric], hyper: dict[str, Any] = BUDGET) -> list[str]:
    return [warning.name for warning in warnings.of(reports, hyper)]


def test_a_run_that_goes_well_has_none() -> None:
    fine = rows(
        reward=[0.0, 0.2, 0.4, 0.5],
        reward_heldout=[0.0, 0.1, 0.3, 0.4],
        kl=[0.1, 1.0, 3.0, 5.9],
        entropy=[2.0, 1.8, 1.7, 1.5],
        length=[40, 42, 45, 50],
        eos_rate=[0.9, 0.9, 0.8, 0.8],
    )
    assert names(fine) == []


def test_a_figure_that_is_no_number_is_severe() -> None:
    (warning,) = warnings.of(rows(reward=[0.1, None]), BUDGET)
    assert (warning.name, warning.severe) == ("no_number", True)
    assert "At step 2 “reward” was no number" in warning.seen
    assert names(rows(explained_variance=[None, 0.1])) == [], "only what learning rests on"


@pytest.mark.parametrize(
    ("kl", "found"),
    [
        ([1.0, 6.0], []),
        ([1.0, 6.1], [("far_away", False)]),
        ([1.0, 9.1], [("far_away", False)]),  # 1.5 x 6 = 9, but only once
        ([9.1, 9.1], [("far_away", True)]),
    ],
)
def test_kl_beyond_its_budget_is_told_and_far_beyond_it_twice_is_severe(
    kl: list[float | None], found: list[tuple[str, bool]]
) -> None:
    assert [(one.name, one.severe) for one in warnings.of(rows(kl=kl), BUDGET)] == found


def test_entropy_below_three_tenths_of_the_first_is_severe() -> None:
    assert names(rows(entropy=[2.0, 1.0, 0.6])) == []
    (warning,) = warnings.of(rows(entropy=[2.0, 1.0, 0.59]), BUDGET)
    assert (warning.name, warning.severe) == ("one_phrase", True)
    assert names(rows(entropy=[2.0, 0.1])) == [], "two looks are too few to say so"


@pytest.mark.parametrize(("last", "told"), [(59, False), (60, True), (21, False), (20, True)])
def test_half_as_long_again_or_half_as_long_with_more_reward_may_be_paid_by_length(last: float, told: bool) -> None:
    assert names(rows(length=[40, last], reward=[0.0, 0.5])) == ["paid_by_length"] * told
    assert names(rows(length=[40, last], reward=[0.5, 0.0])) == [], "no reward was earned by it"


def test_reward_up_and_held_out_down_names_the_update_of_the_best_point() -> None:
    # Held out, 0.50 at update 2 is the best; both later looks lie more than 0.1 below while the score goes on rising.
    (warning,) = warnings.of(rows(score=[0.1, 0.4, 0.6, 0.8], reward_heldout=[0.2, 0.5, 0.39, 0.3]), BUDGET)
    assert warning.name == "held_out_falls"
    assert "Since update 2" in warning.seen
    assert "from +0.50 to +0.30" in warning.seen
    assert names(rows(score=[0.1, 0.4, 0.6, 0.8], reward_heldout=[0.2, 0.5, 0.39, 0.41])) == [], (
        "within 0.1 of the best"
    )


def test_answers_that_no_longer_end_are_told() -> None:
    assert names(rows(eos_rate=[0.8, 0.4])) == []
    assert names(rows(eos_rate=[0.8, 0.39])) == ["no_end"]
    assert names(rows(eos_rate=[0.2, 0.05])) == [], "few ended before"


def test_learning_by_heart_shows_in_the_loss_on_unseen_choices() -> None:
    loss: list[float | None] = [0.7, 0.5, 0.3]
    # 1.05 x 0.60 = 0.63
    assert names(rows("adapters", loss=loss, nll=[0.60, 0.64, 0.65]), {}) == ["by_heart"]
    assert names(rows("adapters", loss=loss, nll=[0.60, 0.64, 0.62]), {}) == []


@pytest.mark.parametrize("policy", [True, False])
def test_a_severe_one_ends_the_run_only_where_the_project_s_policy_says_so(
    session: Session, project: Project, policy: bool
) -> None:
    project.retraining = {"stop_when_wrong": policy}
    run = Run(project_id=project.id, kind="ppo", status="running", result={"spec": {"hyper": BUDGET}})
    session.add(run)
    session.flush()
    for report in rows(kl=[9.5, 9.6]):
        report.run_id = run.id
        session.add(report)
    session.flush()
    if not policy:
        return progress.stop_if_wrong(session, run.id)
    with pytest.raises(Failed, match=r"9\.6 nats from the base model; the budget is 6.*policy ends such a run"):
        progress.stop_if_wrong(session, run.id)
    return None
