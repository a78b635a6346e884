"""A look at the held-out prompts notices tricks, measures the distance, and ends a run that goes nowhere."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from workers.drift import Drift, Looks, measure, shown, trick
from workers.language.adapters import LoraConfig, create, using
from workers.language.decode import generate
from workers.language.logprobs import response_logprobs
from workers.language.model import LanguageModel
from workers.language.sampling import Settings
from workers.prompts import Prompt

FIRST = Drift(kls=[0.0], length=40.0, eos_rate=0.8, distinct=0.9, texts=["a", "b"])
PROMPTS = [Prompt("one", [1, 40, 3], True), Prompt("two", [1, 50, 51, 3], True)]


def looks(best: float = 0.0, **fields: Any) -> Looks:
    return Looks("update", "The held-out reward has not risen", best, **fields)


def take(one: Looks, at: int, value: float, patience: int = 3, **now: Any) -> bool:
    return one.take(at, value, replace(FIRST, **now), FIRST, 6.0, patience)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"length": 9.0}, "The answers collapsed to 9 tokens (before: 40)."),
        ({"eos_rate": 0.1}, "Only 10% of the answers come to their end (before: 80%)."),
        ({"distinct": 0.3}, "The answers repeat one phrase for every prompt: 30% of their trigrams differ."),
        ({"length": 11.0, "eos_rate": 0.3, "distinct": 0.6}, None),
    ],
)
def test_a_trick_gets_a_sentence(change: dict[str, Any], sentence: str | None) -> None:
    assert trick(replace(FIRST, **change), FIRST) == sentence


def test_where_answers_rarely_ended_before_it_says_nothing() -> None:
    assert trick(replace(FIRST, eos_rate=0.0), replace(FIRST, eos_rate=0.2)) is None


def test_the_best_point_is_the_one_of_the_highest_value() -> None:
    run = looks()
    assert [take(run, at, value) for at, value in ((2, 0.5), (4, 0.4), (6, 0.5), (8, 0.7))] == [
        True,
        False,
        False,
        True,
    ]
    assert (run.best, run.best_at, run.ended) == (0.7, 8, "")


def test_a_point_over_the_budget_is_not_kept_and_two_in_a_row_end_the_run() -> None:
    run = looks(best_at=4)
    assert not take(run, 6, 1.0, kls=[6.5])
    assert take(run, 8, 1.0, kls=[5.9])
    assert not take(run, 10, 2.0, kls=[6.5])
    assert run.ended == ""
    assert not take(run, 12, 2.0, kls=[6.5])
    assert (
        run.ended == "The policy stayed 6.5 nats from the base model; the budget is 6. The run went back to update 8."
    )


def test_a_trick_ends_the_run_and_is_not_kept() -> None:
    run = looks(best_at=4)
    assert not take(run, 6, 1.0, length=3.0)
    assert run.ended == "The answers collapsed to 3 tokens (before: 40). The run went back to update 4."


def test_looks_without_a_gain_end_the_run_once_patience_is_over() -> None:
    run = looks()
    assert take(run, 2, 0.5)
    assert not take(run, 4, 0.5)
    assert not take(run, 6, 0.4)
    assert run.ended == ""
    # Beyond the budget there is nothing to gain either.
    assert not take(run, 8, 0.9, kls=[6.5])
    assert run.ended == "The held-out reward has not risen at 3 looks in a row. The run went back to update 2."


def test_without_patience_it_goes_on_for_ever() -> None:
    run = looks()
    assert not any(take(run, at, -1.0, patience=0) for at in range(100))
    assert run.ended == ""


def test_the_distance_is_the_mean_kl_of_the_policys_own_answers(tiny: LanguageModel) -> None:
    adapter = create(tiny, "policy", LoraConfig(4, 8))
    assert measure(tiny, "policy", PROMPTS, 5, 12, seed=3).kl == 0.0
    with torch.no_grad():
        for _, b in adapter.pairs.values():
            b.normal_(std=0.1, generator=torch.Generator().manual_seed(2))
    found = measure(tiny, "policy", PROMPTS, 5, 12, seed=3)
    # The same by hand: five answers to the two prompts in turn, one at a time.
    asked = [PROMPTS[index % 2].ids for index in range(5)]
    drawn = [one for (one,) in generate(tiny, asked, 1, Settings(1.0, 1.0, 12), 3, "policy")]
    total = 0.0
    for one in drawn:
        row = [(one.prompt_ids, one.token_ids)]
        with torch.no_grad(), using(tiny, "policy"):
            logp = response_logprobs(tiny, row)[0]
        total += float((logp - response_logprobs(tiny, row)[0]).sum())
    assert found.kl == pytest.approx(total / 5, abs=1e-4)
    assert found.kl > 0.1
    assert found.length == sum(len(one.token_ids) for one in drawn) / 5
    assert found.eos_rate == sum(one.finish == "stop" for one in drawn) / 5


def test_people_are_shown_answers_before_and_after() -> None:
    after = replace(FIRST, texts=["c", "d"])
    assert shown(PROMPTS, FIRST, after)[1] == {"prompt": "two", "before": "b", "after": "d"}
