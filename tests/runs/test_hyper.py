"""The settings of a training run: defaults are valid, and what does not fit gets a sentence."""

from dataclasses import fields

import pytest

from app.models import Project
from app.runs.hyper import HYPER, EvaluateHyper, Hyper, PpoHyper, RewardHyper
from app.runs.params import hyper_of, usual


@pytest.mark.parametrize("kind", HYPER)
@pytest.mark.parametrize("base_model", ["tiny", "smollm2-135m-instruct"])
def test_every_preset_is_valid_and_survives_json(kind: str, base_model: str) -> None:
    for name in HYPER[kind].presets:
        hyper = HYPER[kind].preset(base_model, name)
        hyper.validate()
        assert HYPER[kind].from_json(hyper.to_json(), base_model) == hyper


@pytest.mark.parametrize("kind", HYPER.values())
def test_every_setting_has_a_sentence_and_a_range_around_its_default(kind: type[Hyper]) -> None:
    for one in fields(kind):
        assert one.metadata["description"].endswith(".")
        assert "choices" in one.metadata or one.metadata["low"] <= one.default <= one.metadata["high"]


def test_what_is_not_given_comes_from_the_base_model() -> None:
    assert PpoHyper.from_json({"updates": 3}, "tiny").batch == 32
    assert PpoHyper.from_json({"updates": 3}, "smollm2-135m-instruct").batch == 192
    assert PpoHyper.from_json({"updates": 3.0}, "tiny").updates == 3


@pytest.mark.parametrize(("kind", "name"), [("reward", "reference_tokens"), ("ppo", "max_new_tokens")])
def test_answers_get_as_long_as_those_that_people_compare_unless_it_is_said_otherwise(kind: str, name: str) -> None:
    project = Project(base_model="smollm2-135m-instruct", sampling={"max_tokens": 120})
    assert getattr(usual(kind, project, "quick"), name) == 120
    assert getattr(hyper_of(kind, project, {}), name) == 120
    assert getattr(hyper_of(kind, project, {"hyper": {name: 30}}), name) == 30
    short = Project(base_model="tiny", sampling={"max_tokens": 120})
    assert getattr(hyper_of(kind, short, {}), name) == 16, "tiny is there to be quick"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"learning_rat": 1e-4}, "There is no setting 'learning_rat'; the settings are updates, batch,"),
        ({"updates": 0}, "updates must lie between 1 and 100000; it is 0"),
        ({"updates": 1.5}, "updates must be a whole number; it is 1.5"),
        ({"updates": "3"}, "updates must be a number; it is '3'"),
        ({"updates": True}, "updates must be a number; it is True"),
        ({"clip": float("nan")}, "clip must be a number; it is nan"),
        ({"batch": 15}, r"batch \(15\) must be a multiple of answers_per_prompt \(2\)"),
        ({"advantage": "rloo", "answers_per_prompt": 1}, "set answers_per_prompt to 2 or more, or choose gae"),
        ({"advantage": "vtrace"}, "advantage must be one of gae, rloo; it is 'vtrace'"),
        ({"minibatches": 33}, r"minibatches \(33\) must not exceed batch \(32\)"),
        ({"kl_target": 7}, r"kl_target \(7\) must not exceed kl_budget \(6\)"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        PpoHyper.from_json(values, "tiny")


def test_a_choice_is_one_of_its_choices() -> None:
    assert RewardHyper.from_json({"pooling": "mean"}, "tiny").pooling == "mean"
    with pytest.raises(ValueError, match="pooling must be one of words, all, mean, sum, last; it is 'max'"):
        RewardHyper.from_json({"pooling": "max"}, "tiny")
    with pytest.raises(ValueError, match="pooling must be text; it is 3"):
        RewardHyper.from_json({"pooling": 3}, "tiny")


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="choose one of standard, quick, thorough"):
        EvaluateHyper.preset("tiny", "fast")
