# mypy: ignore-errors
"""TRL 1.16's RewardTrainer on given pairs; run by `bench.reward_speed` in a process of its own.

`python trl_reward.py FILE` reads {model, train, heldout, batch, rank, threads, dtype}, pairs as [chosen ids, rejected
ids], and prints the seconds of training and the share of held-out pairs that it gets right as JSON. LoRA on every
linear layer. Optional are `epochs` (1), `rate` (3e-4), and `save`: a directory for the model with its adapters merged.
"""

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl import RewardConfig, RewardTrainer

warnings.filterwarnings("ignore")


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(given["threads"])
    tokenizer = AutoTokenizer.from_pretrained(given["model"])
    tokenizer.pad_token = "<|endoftext|>"  # not the token that ends an answer, or its state would not be read
    network = AutoModelForSequenceClassification.from_pretrained(
        given["model"], num_labels=1, dtype=getattr(torch, given["dtype"])
    )
    network.config.pad_token_id = tokenizer.pad_token_id
    rank = given["rank"]
    shape = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="SEQ_CLS")
    pairs = Dataset.from_list([{"chosen_ids": one, "rejected_ids": other} for one, other in given["train"]])
    with tempfile.TemporaryDirectory() as home:
        arguments = RewardConfig(
            output_dir=home,
            per_device_train_batch_size=given["batch"],
            num_train_epochs=given.get("epochs", 1),
            learning_rate=given.get("rate", 3e-4),
            center_rewards_coefficient=0.01,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            seed=1,
        )
        trainer = RewardTrainer(network, arguments, train_dataset=pairs, processing_class=tokenizer, peft_config=shape)
        begun = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - begun
    with torch.no_grad():
        scores = [
            [trainer.model(input_ids=torch.tensor([ids])).logits.item() for ids in pair] for pair in given["heldout"]
        ]
    if "save" in given:
        trainer.model.merge_and_unload().save_pretrained(given["save"])
        tokenizer.save_pretrained(given["save"])
    right = sum(one > other for one, other in scores) / len(scores)
    print(json.dumps({"seconds": seconds, "right": right}))


main()
