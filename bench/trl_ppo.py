# mypy: ignore-errors
"""TRL 1.12's PPOTrainer, its last one, on given prompts; run by `bench.ppo_speed` in an environment of its own.

`python trl_ppo.py FILE` reads {model, prompts, tokens, batch, micro, epochs, rank, updates, threads, dtype} and prints
the seconds of every update as JSON. Policy with LoRA on every linear layer, reference its base, reward and value model,
all in the number format given; no token ends an answer, so that both sides draw and learn from the same number.
"""

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


class Clock(TrainerCallback):
    """Notes when each update ends."""

    def __init__(self) -> None:
        self.ends = [time.perf_counter()]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


def main() -> None:
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    given = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(given["threads"])
    kind = getattr(torch, given["dtype"])
    tokenizer = AutoTokenizer.from_pretrained(given["model"])
    tokenizer.pad_token = "<|endoftext|>"
    policy = AutoModelForCausalLM.from_pretrained(given["model"], dtype=kind)
    reward, value = (
        AutoModelForSequenceClassification.from_pretrained(given["model"], num_labels=1, dtype=kind) for _ in range(2)
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as home:
        arguments = PPOConfig(
            output_dir=home,
            per_device_train_batch_size=given["micro"],
            gradient_accumulation_steps=given["batch"] // given["micro"],
            num_mini_batches=1,
            num_ppo_epochs=given["epochs"],
            total_episodes=given["batch"] * given["updates"],
            response_length=given["tokens"],
            stop_token=None,
            temperature=1.0,
            learning_rate=1e-6,
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
        trainer.train()
    print(json.dumps([end - start for start, end in zip(clock.ends, clock.ends[1:], strict=False)]))


main()
