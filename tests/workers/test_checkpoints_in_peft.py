"""The checkpoints of reward models and policies load with `PeftModel.from_pretrained`, and compute the same there."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from tests.workers import training
from tests.workers.reward.test_model import make
from workers import artifacts
from workers.context import RecordingContext
from workers.iteration import run_iteration
from workers.language import adapters
from workers.language import tiny as tiny_model
from workers.language.model import LanguageModel
from workers.reward.model import write

# PEFT itself still asks transformers under an old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
IDS = torch.tensor([[1, 40, 41, 42, 2, 50, 51]])


def in_peft(directory: Path) -> torch.Tensor:
    """The logits of a fresh base model with the checkpoint's adapter, by PEFT."""
    theirs = PeftModel.from_pretrained(tiny_model.model(), str(directory))
    with torch.no_grad():
        logits: torch.Tensor = theirs(IDS).logits
    return logits


def here(lm: LanguageModel, url: str) -> torch.Tensor:
    """The same by the hooks of workers/language/adapters."""
    adapters.attach(lm, "of the checkpoint", artifacts.read(url))
    with torch.no_grad():
        base = lm.model(IDS).logits
        with adapters.using(lm, "of the checkpoint"):
            logits: torch.Tensor = lm.model(IDS).logits
    assert not torch.allclose(logits, base, atol=1e-4)
    return logits


# PEFT's model is as transformers makes it, ours is arranged for the processor: of a logit of 20 the last bits differ.


def test_a_reward_model(tiny: LanguageModel, tmp_path: Path) -> None:
    write(make(tiny, 1), tmp_path.as_uri(), {"samples": 1}, {"kind": "reward"})
    torch.testing.assert_close(in_peft(tmp_path), here(tiny, tmp_path.as_uri()), atol=1e-5, rtol=1e-6)


def test_a_policy(tiny: LanguageModel, likes_vowels: dict[str, Any], tmp_path: Path) -> None:
    hyper = {"updates": 4, "batch": 16, "heldout_answers": 16, "warmup_steps": 0, "kl_budget": 50}
    result = run_iteration(training.spec(tmp_path, "ppo", **likes_vowels, hyper=hyper), RecordingContext())
    url = result["checkpoint"]["url"]
    directory = Path(url.removeprefix("file://"))
    torch.testing.assert_close(in_peft(directory), here(tiny, url), atol=1e-5, rtol=1e-6)
