"""Scores of this reward model, with torch, transformers and safetensors alone.

    from reward_model import Reward

    reward = Reward(".")  # the directory that this file lies in
    reward.score([{"role": "user", "content": "Name a tree."}], "An oak.")

Zero is the base model's average answer, one the standard deviation of its answers' scores; higher is better.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer


class Reward:
    """A language model without its output layer, and weights on pooled states of the response instead."""

    def __init__(self, directory: str | Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.model = AutoModel.from_pretrained(directory, dtype=torch.float32).eval()
        self.head = json.loads((Path(directory) / "reward_head.json").read_text())
        self.weights = load_file(Path(directory) / "reward_head.safetensors")["weights"]

    def score(self, messages: list[dict[str, str]], response: str) -> float:
        """Return the score of a response to a conversation that ends with a user turn."""
        text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        prompt, answer = (self.tokenizer(one, add_special_tokens=False)["input_ids"] for one in (text, response))
        return self.score_ids(prompt, [*answer, self.head["end_of_turn"]])

    @torch.no_grad()
    def score_ids(self, prompt: list[int], answer: list[int]) -> float:
        """Return the score of token ids, the end of the turn included where it was reached."""
        states = self.model(torch.tensor([prompt + answer]), output_hidden_states=True).hidden_states
        score = float(self.head["constant"])
        for part, weights in zip(self.head["parts"], self.weights, strict=True):
            # Layer k is the states after k blocks (0: what the first one takes in), -1 those after the last norm.
            own = states[part["layer"]][0, len(prompt) :]
            score += float({"mean": own.mean(0), "sum": own.sum(0), "last": own[-1]}[part["pooled"]] @ weights)
        return score
