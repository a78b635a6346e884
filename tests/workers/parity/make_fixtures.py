"""Record what TRL itself computes on tiny models, for test_reward_parity.py and test_ppo_parity.py to compare with.

The tests read only the files written here. To write them again, in an environment of its own for each (TRL 1.12 is the
last release that has a PPO trainer, and nothing here may depend on it):

    python -m venv /tmp/reward && /tmp/reward/bin/pip install torch==2.13.0 trl==1.16.0 peft
    /tmp/reward/bin/python tests/workers/parity/make_fixtures.py reward
    python -m venv /tmp/ppo && /tmp/ppo/bin/pip install torch==2.13.0 trl==1.12.0 pandas
    /tmp/ppo/bin/python tests/workers/parity/make_fixtures.py ppo

`reward` runs RewardTrainer for 20 steps and keeps rows, scores, losses, and the weights it began with. `ppo` runs one
update of PPOTrainer and keeps the tensors that its `train` passes to `masked_whiten` and `masked_mean`.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

HERE = Path(__file__).parent
SEED = 4  # of PPO's rollout: with it answers end at their first, a middle and their last place, or not at all
PAD, END, WORDS = 0, 1, 24
SHAPE: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "pad_token_id": PAD,
    "eos_token_id": END,
}


def tokenizer() -> PreTrainedTokenizerFast:
    words = {"[PAD]": PAD, "[END]": END} | {f"w{index}": index for index in range(2, WORDS)}
    core = Tokenizer(models.WordLevel(words, unk_token="w2"))
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]", eos_token="[END]")


def random_weights(network: Any, seed: int, scale: float) -> Any:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, weight in sorted(network.named_parameters()):
            if weight.dim() == 2:
                weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
    return network


def write(name: str, facts: dict[str, Any]) -> None:
    """Write JSON with one line per entry, tensors as lists."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items()]
    (HERE / name).write_text("{\n" + ",\n".join(lines) + "\n}\n")


def plain(value: Any) -> Any:
    return value.detach().tolist() if isinstance(value, torch.Tensor) else value


def make_reward() -> None:
    from peft import LoraConfig
    from trl import RewardConfig, RewardTrainer

    steps: list[dict[str, Any]] = []

    class Recording(RewardTrainer):
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **more: Any) -> Any:
            rows = [
                ids[mask.bool()].tolist()
                for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
            ]
            loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **more)
            gradient = torch.autograd.grad(loss, outputs.logits, retain_graph=True)[0]
            scores, slopes = (plain(one.squeeze(-1)) for one in (outputs.logits, gradient))
            steps.append({"rows": rows, "scores": scores, "loss": loss.item(), "gradient": slopes})
            return (loss, outputs) if return_outputs else loss

    generator = torch.Generator().manual_seed(5)

    def row(length: int) -> list[int]:
        return [*torch.randint(2, WORDS, (length,), generator=generator).tolist(), END]

    pairs = [{"chosen_ids": row(3 + index % 5), "rejected_ids": row(7 - index % 4)} for index in range(16)]
    network = random_weights(LlamaForSequenceClassification(LlamaConfig(**SHAPE, num_labels=1)), 1, 0.3)
    config = LoraConfig(
        r=2, lora_alpha=6, lora_dropout=0.0, target_modules="all-linear", task_type="SEQ_CLS", init_lora_weights=False
    )
    with tempfile.TemporaryDirectory() as home:
        arguments = RewardConfig(
            output_dir=home,
            per_device_train_batch_size=4,
            num_train_epochs=5,
            learning_rate=0.01,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            center_rewards_coefficient=0.01,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            seed=3,
        )
        trainer = Recording(
            network, arguments, train_dataset=Dataset.from_list(pairs), processing_class=tokenizer(), peft_config=config
        )
        begin = {name: weight.detach().clone().contiguous() for name, weight in trainer.model.state_dict().items()}
        trainer.train()
    write("reward.json", {"shape": SHAPE, "rank": 2, "alpha": 6, **{str(n): one for n, one in enumerate(steps)}})
    save_file(begin, HERE / "reward.safetensors")


def make_ppo(estimator: str, penalty: float | None) -> dict[str, Any]:
    from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

    kept: dict[str, Any] = {}
    steps: list[dict[str, Any]] = []
    whiten, mean = ppo_trainer.masked_whiten, ppo_trainer.masked_mean
    rollout = ["logprobs", "ref_logprobs", "kl", "rewards", "values", "advantages", "returns", "scores", "responses"]

    def recording_whiten(values: Any, mask: Any, shift_mean: bool = True) -> Any:
        found, caller = whiten(values, mask, shift_mean), sys._getframe(1).f_locals
        kept.update({name: plain(caller[name]) for name in (*rollout, "padding_mask", "padding_mask_p1")})
        kept["whitened"] = plain(found)
        return found

    def recording_mean(values: Any, mask: Any, axis: Any = None) -> Any:
        found, caller = mean(values, mask, axis), sys._getframe(1).f_locals
        if caller.get("pg_loss_max") is values:
            (gradient,) = torch.autograd.grad(found, caller["new_logprobs"], retain_graph=True)
            rows = caller["micro_batch_inds"].tolist()
            new, ratio = plain(caller["new_logprobs"]), plain(caller["ratio"])
            steps.append({"rows": rows, "new": new, "ratio": ratio, "loss": found.item(), "gradient": plain(gradient)})
        return found

    ppo_trainer.masked_whiten, ppo_trainer.masked_mean = recording_whiten, recording_mean
    generator = torch.Generator().manual_seed(2)
    prompts = [{"input_ids": torch.randint(2, WORDS, (4,), generator=generator).tolist()} for _ in range(8)]
    policy, reference = (random_weights(LlamaForCausalLM(LlamaConfig(**SHAPE)), seed, 0.3) for seed in (1, 2))
    reward, value = (
        random_weights(LlamaForSequenceClassification(LlamaConfig(**SHAPE, num_labels=1)), seed, 0.4) for seed in (3, 4)
    )
    for network in (policy, reference):
        # TRL reads lengths out of the pad id, so no pad may be sampled; and many answers should end.
        network.lm_head.bias = torch.nn.Parameter(torch.zeros(WORDS))
        with torch.no_grad():
            network.lm_head.bias[[PAD, END]] = torch.tensor([-30.0, 1.0])
    with tempfile.TemporaryDirectory() as home:
        arguments = PPOConfig(
            output_dir=home,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=4,
            num_mini_batches=2,
            num_ppo_epochs=2,
            total_episodes=8,
            response_length=7,
            stop_token="eos",
            missing_eos_penalty=penalty,
            temperature=1.0,
            kl_coef=0.05,
            kl_estimator=estimator,
            learning_rate=0.02,
            num_sample_generations=0,
            bf16=False,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            seed=SEED,
        )
        data = Dataset.from_list(prompts)
        PPOTrainer(
            arguments, tokenizer(), policy, reference, reward, data, value_model=value, eval_dataset=data
        ).train()
    for row in kept["responses"]:
        assert PAD not in row[: row.index(END)] if END in row else PAD not in row
    ppo_trainer.masked_whiten, ppo_trainer.masked_mean = whiten, mean
    return {**kept, **{str(number): step for number, step in enumerate(steps)}}


if __name__ == "__main__":
    import trl

    wanted = {"reward": "1.16", "ppo": "1.12"}[sys.argv[1]]
    if not trl.__version__.startswith(wanted):
        sys.exit(f"This needs trl {wanted}; here is {trl.__version__}. The first lines of this file say how to get it.")
    if sys.argv[1] == "reward":
        make_reward()
    else:
        found, other = make_ppo("k1", penalty=1.0), make_ppo("k3", penalty=None)
        # The same rollout twice: nothing is learned before it.
        assert found["logprobs"] == other["logprobs"]
        write("ppo.json", {"end": END, **found, "k3": other["kl"], "raw_scores": other["scores"]})
