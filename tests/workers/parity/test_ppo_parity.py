"""PPO's formulas on the tensors of a real update of TRL's PPOTrainer: the same numbers, or the difference we mean.

The fixture is what TRL 1.12, the last release with a PPO trainer, computed for eight answers on tiny models
(make_fixtures.py). Each test that asserts a difference says in its docstring what we do otherwise, and why. Two things
have no counterpart here: the value model that TRL trains beside the policy, and the gradient, which TRL never clips.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from workers.ppo import math as ppo
from workers.ppo.rollout import Rollout

TRL: dict[str, Any] = json.loads((Path(__file__).parent / "ppo.json").read_text())
BETA, LAMBDA, CLIP, PENALTY = 0.05, 0.95, 0.2, 1.0
# TRL marks what is padding: in `padding_mask` all after the last token, in `padding_mask_p1` one place less.
MASK, WIDER = ~torch.tensor(TRL["padding_mask"]), ~torch.tensor(TRL["padding_mask_p1"])
LAST = MASK.sum(1) - 1
ROWS = torch.arange(len(MASK))
ROOM = MASK.shape[1] > LAST + 1
"""Answers after whose last token there is a place left."""
STEPS: list[dict[str, Any]] = [TRL[str(number)] for number in range(8)]


def trl(name: str) -> Tensor:
    return torch.tensor(TRL[name])


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-5)


def our_rewards() -> Tensor:
    k1 = ppo.kl_k1(trl("logprobs"), trl("ref_logprobs"), MASK)
    return ppo.token_rewards(trl("scores"), k1, MASK, BETA)


def test_the_fixture_has_every_kind_of_answer() -> None:
    # Ended at the first token, in the middle, and at the last place there is; and not at all.
    ended = (trl("responses") == TRL["end"]).any(1)
    assert LAST[ended].tolist() == [5, 0, 2, 6, 0, 5]
    assert LAST[~ended].tolist() == [6, 6]


def test_both_estimators_of_the_kl_are_trls() -> None:
    close(ppo.kl_k1(trl("logprobs"), trl("ref_logprobs"), MASK), trl("kl"))
    close(ppo.kl_k3(trl("logprobs"), trl("ref_logprobs"), MASK), trl("k3"))


def test_an_answer_without_an_end_pays_what_it_pays_in_trl() -> None:
    """We clip scores to 5 standard deviations first, which none of these reach; TRL does not."""
    ended = (trl("responses") == TRL["end"]).any(1)
    raw, nothing = trl("raw_scores"), torch.zeros(len(MASK), 1)
    empty = dict.fromkeys(("logp", "reference", "hidden", "earned"), nothing)
    made = Rollout(rows=[], mask=MASK, ended=ended, score=raw, lower={}, gap=0.0, **empty)
    close(made.rewards(clip=5.0, penalty=PENALTY, expected=False), trl("scores"))
    assert made.rewards(clip=0.5, penalty=PENALTY, expected=False)[1] == -0.5


def test_every_token_pays_for_its_kl_as_in_trl_and_the_score_lies_one_place_earlier() -> None:
    """TRL puts the score behind the last token where there is room; we put it on the last token, which earned it.

    We also clamp the KL of one token to 10 nats, which no token here reaches.
    """
    theirs, moved = trl("rewards"), trl("rewards")
    close(theirs[ROWS[ROOM], LAST[ROOM] + 1], trl("scores")[ROOM])
    moved[ROWS[ROOM], LAST[ROOM]] += theirs[ROWS[ROOM], LAST[ROOM] + 1]
    moved[ROWS[ROOM], LAST[ROOM] + 1] = 0
    close(our_rewards(), moved)
    close(our_rewards()[~ROOM], theirs[~ROOM])
    assert not torch.allclose(our_rewards()[ROOM], theirs[ROOM])


def test_advantages_of_trls_rewards_are_trls() -> None:
    """TRL counts the place behind the last token as one more state, so this is on its wider mask."""
    close(ppo.gae(trl("rewards"), trl("values"), WIDER, LAMBDA), trl("advantages"))


def test_without_a_state_behind_the_end_the_last_token_gets_the_whole_score() -> None:
    """TRL's last token gets (1 - lambda) of the value of a padding token in the place of as much of the score."""
    ours = ppo.gae(our_rewards(), trl("values"), MASK, LAMBDA)
    close(ours[~ROOM], trl("advantages")[~ROOM])
    behind = trl("values")[ROWS[ROOM], LAST[ROOM] + 1]
    difference = (trl("advantages") - ours)[ROWS[ROOM], LAST[ROOM]]
    close(difference, (1 - LAMBDA) * (behind - trl("scores")[ROOM]))
    assert difference.abs().min() > 1e-3


def test_whitening_is_trls_but_for_one_degree_of_freedom() -> None:
    """TRL divides by the standard deviation of a sample, we by that of these tokens: a factor of sqrt(n / (n - 1))."""
    n = int(MASK.sum())
    close(ppo.whiten(trl("advantages"), MASK), (trl("whitened") * (n / (n - 1)) ** 0.5).masked_fill(~MASK, 0.0))


def test_the_value_head_learns_plain_returns_where_trl_learns_lambda_returns() -> None:
    """TRL trains a value model on advantage + value; our ridge regression has no bias to trade and takes the sums."""
    advantages, values = trl("advantages"), trl("values")
    close(trl("returns")[WIDER], (advantages + values)[WIDER])
    plain = ppo.returns(trl("rewards"), WIDER)
    close(plain, (ppo.gae(trl("rewards"), values, WIDER, 1.0) + values).masked_fill(~WIDER, 0.0))
    assert not torch.allclose(plain[WIDER], trl("returns")[WIDER])


@pytest.mark.parametrize("step", STEPS)
def test_the_clipped_loss_and_its_gradient_are_trls(step: dict[str, Any]) -> None:
    """We count tokens outside the clip range; TRL counts those whose gradient the clip takes away, which are fewer."""
    rows = step["rows"]
    new, mask = torch.tensor(step["new"], requires_grad=True), MASK[rows]
    old, worth = trl("logprobs")[rows], trl("whitened")[rows]
    found = ppo.policy_loss(new, old, worth, mask, CLIP, int(mask.sum()))
    assert float(found.loss.detach()) == pytest.approx(step["loss"], abs=2e-6)
    close(torch.autograd.grad(found.loss, new)[0], torch.tensor(step["gradient"]))
    distance = (torch.tensor(step["ratio"])[mask] - 1).abs()
    assert int(found.clipped) == int((distance > CLIP).sum())
    assert float(found.ratio_max) == pytest.approx(float(distance.max()), rel=1e-5)


def test_many_tokens_were_clipped_and_the_first_ratio_was_one() -> None:
    outside = sum(int(((torch.tensor(step["ratio"]) - 1).abs() > CLIP).sum()) for step in STEPS)
    assert outside > 30
    assert (torch.tensor(STEPS[0]["ratio"]) - 1).abs().max() < 1e-5


def test_two_micro_batches_weigh_by_their_tokens_where_trl_weighs_them_alike() -> None:
    """TRL's step is the mean of its micro-batches' means, in which a token of a short one counts for more."""
    rows = [STEPS[0]["rows"], STEPS[1]["rows"]]
    tokens = [int(MASK[one].sum()) for one in rows]
    assert tokens[0] != tokens[1]
    old, worth = trl("logprobs"), trl("whitened")
    losses = [
        ppo.policy_loss(torch.tensor(step["new"]), old[one], worth[one], MASK[one], CLIP, sum(tokens))
        for step, one in zip(STEPS, rows, strict=False)
    ]
    weighed = sum(step["loss"] * n for step, n in zip(STEPS, tokens, strict=False)) / sum(tokens)
    assert float(sum(one.loss for one in losses)) == pytest.approx(weighed, abs=2e-6)
    assert weighed != pytest.approx((STEPS[0]["loss"] + STEPS[1]["loss"]) / 2, abs=1e-3)
