# mypy: ignore-errors
"""TRL 1.12's PPOTrainer, its last one, on given prompts; run in an environment of its own.

`python trl_ppo.py FILE` reads {model, prompts, tokens, batch, micro, epochs, rank, updates, threads, dtype} and prints
the seconds of every update as JSON. Policy with LoRA on every linear layer, reference its base, reward and value model,
all in the number format given. For `bench.ppo_speed` no token ends an answer, so that both sides draw and learn from
the same number, and the reward means nothing. For `bench.headline` {reward, rate, kl, penalty, minibatches, seconds,
every, save} say which reward model scores the answers and starts the value model, how to learn from it, when to end,
and that the adapter is to be written into a directory of `save` so often, in seconds, named by the second.
"""

import contextlib
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback

warnings.filterwarnings("ignore")


class Enough(Exception):
    """The time is over; this trainer looks at nothing that would end it earlier."""


class Clock(TrainerCallback):
    """Notes when each update ends, writes the adapter down now and then, and ends the run in time."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given, self.ends, self.saved = given, [time.perf_counter()], 0.0

    def on_step_end(self, *_: Any, model: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())
        passed = self.ends[-1] - self.ends[0]
        over = passed >= self.given.get("seconds", float("inf"))
        if over or passed - self.saved >= self.given.get("every", float("inf")):
            self.saved = passed
            model.policy.save_pretrained(f"{self.given['save']}/{passed:.0f}")
        if over:
            raise Enough


def main() -> None:
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    given = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(given["threads"])
    kind = getattr(torch, given["dtype"])
    tokenizer = AutoTokenizer.from_pretrained(given["model"])
    tokenizer.pad_token, tokenizer.padding_side = "<|endoftext|>", "left"
    policy = AutoModelForCausalLM.from_pretrained(given["model"], dtype=kind)
    scorer = given.get("reward", given["model"])
    reward, value = (
        AutoModelForSequenceClassification.from_pretrained(scorer, num_labels=1, dtype=kind) for _ in range(2)
    )
    clock = Clock(given)
    with tempfile.TemporaryDirectory() as home:
        arguments = PPOConfig(
            output_dir=home,
            per_device_train_batch_size=given["micro"],
            gradient_accumulation_steps=given["batch"] // given["micro"],
            num_mini_batches=given.get("minibatches", 1),
            num_ppo_epochs=given["epochs"],
            total_episodes=given["batch"] * given["updates"],
            response_length=given["tokens"],
            stop_token="eos" if "reward" in given else None,
            temperature=1.0,
            learning_rate=given.get("rate", 1e-6),
            lr_scheduler_type="constant",
            kl_coef=given.get("kl", 0.05),
            missing_eos_penalty=given.get("penalty"),
            num_sample_generations=0,
            bf16=False,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
        )
        data = Dataset.from_list([{"input_ids": one} for one in given["prompts"]])
        trainer = PPOTrainer(
            arguments,
            tokenizer,
            policy,
            None,
            reward,
            data,
            value,
            eval_dataset=data,
            peft_config=LoraConfig(r=given["rank"], lora_alpha=2 * given["rank"], target_modules="all-linear"),
            callbacks=[clock],
        )
        clock.ends = [time.perf_counter()]
        with contextlib.suppress(Enough):
            trainer.train()
    print(json.dumps([end - start for start, end in zip(clock.ends, clock.ends[1:], strict=False)]))


main()
