"""The sampler and the whole training on a GPU, where there is one: nothing in them may need the processor's memory."""

from pathlib import Path

import pytest
import torch

from tests.workers import training
from workers.context import RecordingContext, Stopped
from workers.iteration import run_iteration
from workers.language.decode import generate
from workers.language.logprobs import response_logprobs
from workers.language.model import load
from workers.language.sampling import Settings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def test_sampled_log_probabilities_are_those_of_the_teacher_forced_pass() -> None:
    lm = load("tiny")
    assert lm.device.type == "cuda"
    prompts = [[1, 40, 2, 3], [1, 0, 60, 2, 2, 61, 62, 63, 64], [7]]
    drawn = [one for several in generate(lm, prompts, 2, Settings(1.0, 0.9, 12), seed=1) for one in several]
    rows = [(one.prompt_ids, one.token_ids) for one in drawn]
    expected, mask = response_logprobs(lm, rows)
    for index, one in enumerate(drawn):
        assert torch.allclose(torch.tensor(one.logprobs), expected[index][mask[index]].cpu(), atol=1e-3)


def test_reward_model_and_policy_are_trained_and_a_stopped_run_goes_on(tmp_path: Path) -> None:
    lm, prompts = load("tiny"), training.prompts(tmp_path)
    shared = {"prompts": prompts, "snapshot": training.snapshot(tmp_path, lm)}
    reward = run_iteration(training.spec(tmp_path / "reward", "reward", **shared), RecordingContext())
    parents = {"reward": {"id": "1", **reward["checkpoint"]}, "policy": None}
    spec = training.spec(tmp_path / "ppo", "ppo", prompts=prompts, parents=parents, hyper={"updates": 4})
    with pytest.raises(Stopped):
        run_iteration(spec, RecordingContext(stop_after=3))
    found = run_iteration(spec, RecordingContext())
    assert found["metrics"]["updates"] == 4
