"""Trained on the same answers in the same order, the reward model goes where TRL's RewardTrainer goes.

The fixtures are what TRL 1.16 computed in 20 steps with LoRA (make_fixtures.py). Without ties, strengths and smoothing
the likelihood is Bradley and Terry's, which is TRL's loss. What we do otherwise, and what is done about it here:

- TRL reads the score from the last token's state; here every response is that one token, whose mean state it is.
- TRL's figure of the loss includes the term that centres the scores; ours leaves it out, but descends it all the same.
- The step sizes of a run of ours rise and fall; here they are TRL's.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from tests.workers.reward.snapshots import answer
from workers.language import adapters
from workers.language.adapters import LoraConfig
from workers.language.model import LanguageModel
from workers.reward import data
from workers.reward.adapt import learn
from workers.reward.data import Codec, Preferences
from workers.reward.frozen import FrozenStates
from workers.reward.loss import Integers, Outcomes, expand, interval
from workers.reward.model import RewardModel, with_adapter

HERE = Path(__file__).parent
FACTS: dict[str, Any] = json.loads((HERE / "reward.json").read_text())
STEPS: list[dict[str, Any]] = [FACTS[str(number)] for number in range(20)]
PAIRS, CENTRING = 4, 0.01
# One threshold, which nobody's tie has moved from 0: Bradley and Terry.
SPACING = np.array([0.0])


def outcomes() -> Outcomes:
    """Every pair's first response was preferred."""
    low, high = interval(1, None, 1)
    return Outcomes(np.arange(PAIRS), np.full(PAIRS, low), np.full(PAIRS, high), np.ones(PAIRS))


def centring_term(scores: np.ndarray) -> float:
    return CENTRING * float(((scores[:PAIRS] + scores[PAIRS:]) ** 2).mean())


def begin() -> RewardModel:
    """The model that TRL began with: trunk, adapters, and a head on the last state."""
    weights = {
        name.removeprefix("base_model.model."): one for name, one in load_file(HERE / "reward.safetensors").items()
    }
    network = LlamaForCausalLM(LlamaConfig(**FACTS["shape"]))
    trunk = {name.replace(".base_layer", ""): one for name, one in weights.items() if "lora_" not in name}
    missing = network.load_state_dict(trunk, strict=False).missing_keys
    assert missing == ["lm_head.weight"]
    network.eval().requires_grad_(False)
    lm = LanguageModel("trl", network, None, frozenset({1}), 64, torch.device("cpu"), torch.float32)
    adapter = adapters.create(lm, "reward", LoraConfig(FACTS["rank"], FACTS["alpha"]))
    with torch.no_grad():
        for path, pair in adapter.pairs.items():
            for one, side in zip(pair, "AB", strict=True):
                one.copy_(weights[f"{path}.lora_{side}.default.weight"])
    width = FACTS["shape"]["hidden_size"]
    nothing, ones = torch.zeros(width), torch.ones(width)
    model = with_adapter(RewardModel(lm, 1, "last", nothing, ones, nothing), "reward", 0, nothing, ones)
    return replace(model, weights=torch.cat([nothing, weights["score.modules_to_save.default.weight"][0]]))


@pytest.fixture(scope="module")
def preferences() -> Preferences:
    """The sixteen pairs of TRL's training set; the text of a response stands for its ids, prompt included."""
    pairs = {json.dumps(step["rows"][one]): step["rows"][PAIRS + one] for step in STEPS for one in range(PAIRS)}
    table = [answer(chosen, chosen, json.dumps(rejected)) for chosen, rejected in sorted(pairs.items())]
    assert len(table) == 16

    def encode(_: Any, text: str) -> tuple[list[int], list[int]]:
        ids = json.loads(text)
        return ids[:-1], ids[-1:]

    return data.from_table(table, Codec(encode, lambda ids: "", 1), 100)


def pairs_of(step: dict[str, Any], preferences: Preferences) -> Integers:
    """Which pairs TRL took in a step, in its order."""
    rows = [[*prompt, *response] for prompt, response in preferences.rows]
    chosen = [{rows.index(step["rows"][one]), rows.index(step["rows"][PAIRS + one])} for one in range(PAIRS)]
    number = [{int(a), int(b)} for a, b in zip(preferences.first, preferences.second, strict=True)]
    return np.array([number.index(pair) for pair in chosen])


@pytest.mark.parametrize("step", STEPS[::5])
def test_the_likelihood_and_its_slope_are_trls(step: dict[str, Any]) -> None:
    scores = np.array(step["scores"])
    found = expand(scores[:PAIRS] - scores[PAIRS:], SPACING, outcomes())
    assert found.value / PAIRS + centring_term(scores) == pytest.approx(step["loss"], abs=1e-6)
    centre = 2 * CENTRING * (scores[:PAIRS] + scores[PAIRS:])
    slope = np.concatenate([found.by_delta + centre, centre - found.by_delta]) / PAIRS
    np.testing.assert_allclose(slope, step["gradient"], atol=1e-6)


def test_twenty_steps_of_training_follow_trls(preferences: Preferences) -> None:
    model, nothing_kept = begin(), FrozenStates(torch.zeros(1), None, {})
    head = torch.nn.Parameter(model.weights[-FACTS["shape"]["hidden_size"] :])
    parameters = [*model.lm.adapters["reward"].parameters(), head]
    optimiser = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.0)
    answers = preferences.outcomes(np.ones(16, bool))

    def now() -> RewardModel:
        return replace(model, weights=torch.cat([torch.zeros_like(head), head]))

    for number, step in enumerate(STEPS):
        scores = now().scores([(ids[:-1], ids[-1:]) for ids in step["rows"]]).detach().numpy()
        np.testing.assert_allclose(scores, step["scores"], atol=1e-4, err_msg=f"step {number}")
        optimiser.zero_grad()
        # Two pairs at a time, where TRL takes all four at once.
        micros = np.split(pairs_of(step, preferences), 2)
        loss = learn(now, preferences, nothing_kept, answers, SPACING, micros, CENTRING)
        assert loss + centring_term(scores) == pytest.approx(step["loss"], abs=1e-4)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
    # There was something to learn: TRL's loss fell by more than a third.
    assert np.mean([step["loss"] for step in STEPS[-4:]]) < 0.6 * np.mean([step["loss"] for step in STEPS[:4]])
