"""Features from the engine: the base model's pooled states, whoever wrote the answer, named, and the same each time."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from workers import artifacts
from workers.language import adapters
from workers.language.adapters import LoraConfig
from workers.language.layers import states_at
from workers.language.model import LanguageModel
from workers.language.serving import Engine
from workers.language.tokens import encode_prompt, encode_response
from workers.reward import features

HELLO: Any = [{"role": "user", "content": "Hello, who are you?"}]
ASKED: dict[str, Any] = {"model": "tiny", "messages": HELLO, "n": 3, "seed": 5, "max_tokens": 20}


@pytest.fixture
def api(tiny_engine: tuple[Engine, str, Path]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=tiny_engine[1], timeout=30) as client:
        yield client


def numbers(encoded: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(encoded), dtype="<f2").astype(np.float64)


def expected(lm: LanguageModel, prompt: list[int], response: list[int]) -> np.ndarray:
    """Mean, sum and last of the response's states after one of tiny's two blocks, and its tokens' sum, alone."""
    with torch.no_grad():
        states = states_at(lm, [(prompt, response)], [1])[1][0, len(prompt) :]
        tokens = lm.model.get_input_embeddings()(torch.tensor(response))
    return torch.cat([states.mean(0), states.sum(0), states[-1], tokens.sum(0)]).double().numpy()


def close(found: np.ndarray, wanted: np.ndarray) -> bool:
    # Half precision keeps eleven bits.
    return bool(np.allclose(found, wanted, rtol=2**-10, atol=1e-3))


def complete(api: httpx.Client, **more: Any) -> dict[str, Any]:
    answer = api.post("/v1/chat/completions", json=ASKED | {"return_token_ids": True} | more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_an_answer_comes_with_the_base_model_s_pooled_states(api: httpx.Client, shared_tiny: LanguageModel) -> None:
    answer = complete(api, return_features=True)
    assert answer["features_from"] == "tiny layer 1 mean+sum+last+words"
    for choice in answer["choices"]:
        wanted = expected(shared_tiny, answer["prompt_token_ids"], choice["token_ids"])
        assert close(numbers(choice["features"]), wanted)
    assert "features" not in complete(api)["choices"][0]


def test_an_adapter_writes_the_answer_but_never_reads_it(
    api: httpx.Client, tiny: LanguageModel, tiny_engine: tuple[Engine, str, Path]
) -> None:
    adapter = adapters.create(tiny, "loud", LoraConfig(rank=2), 3)
    with torch.no_grad():
        for _, b in adapter.pairs.values():
            b.normal_(std=0.5, generator=torch.Generator().manual_seed(3))
    url = f"{tiny_engine[2].as_uri()}/checkpoints/loud"
    checkpoint = {"id": "1", "url": url, "sha256": artifacts.write(url, "policy", "tiny", adapters.files(tiny, "loud"))}
    answer = complete(api, return_features=True, checkpoint=checkpoint)
    assert answer["choices"][0]["token_ids"] != complete(api)["choices"][0]["token_ids"]
    for choice in answer["choices"]:
        wanted = expected(tiny, answer["prompt_token_ids"], choice["token_ids"])
        assert close(numbers(choice["features"]), wanted)
    rows = [(answer["prompt_token_ids"], answer["choices"][0]["token_ids"])]
    with adapters.using(tiny, "loud"):
        within = features.read(tiny, rows)
    assert within == features.read(tiny, rows)


def test_responses_that_came_without_are_read_from_their_ids_or_their_text(
    api: httpx.Client, shared_tiny: LanguageModel
) -> None:
    answer = complete(api, return_features=True)
    (first, *_), prompt = answer["choices"], answer["prompt_token_ids"]
    sampled = {
        "messages": HELLO,
        "response": first["message"]["content"],
        "prompt_token_ids": prompt,
        "token_ids": first["token_ids"],
    }
    # These ids do not spell this text: another model's tokenizer made them.
    foreign = {**sampled, "response": "I am a tree."}
    found = api.post(
        "/v1/features",
        json={"model": "tiny", "items": [foreign, sampled, {"messages": HELLO, "response": "I am a tree."}]},
    ).json()
    assert found["features_from"] == answer["features_from"]
    text = expected(shared_tiny, encode_prompt(shared_tiny, HELLO), encode_response(shared_tiny, "I am a tree."))
    assert close(numbers(found["features"][0]), text)
    assert close(numbers(found["features"][1]), numbers(first["features"]))
    assert close(numbers(found["features"][2]), text)


def test_a_prompt_beyond_the_context_has_no_features_and_stops_no_other(api: httpx.Client) -> None:
    long = [{"role": "user", "content": "x" * 600}]
    items = [{"messages": long, "response": "No."}, {"messages": HELLO, "response": "Yes."}]
    found = api.post("/v1/features", json={"model": "tiny", "items": items}).json()["features"]
    assert found[0] is None
    assert numbers(found[1]).shape == (4 * 64,)


def test_features_of_a_stream_are_refused_with_a_sentence(api: httpx.Client) -> None:
    refused = api.post("/v1/chat/completions", json=ASKED | {"stream": True, "return_features": True})
    assert refused.status_code == 422
    assert "without stream" in refused.json()["error"]["message"]


def test_no_portion_is_longer_than_a_slice_of_a_prompt_and_none_is_left_out() -> None:
    rows = [([0] * prompt, [0] * response) for prompt, response in ((300, 20), (10, 5), (100, 80), (600, 40), (90, 90))]
    portions = list(features.portions(rows))
    assert sorted(index for portion in portions for index in portion) == [0, 1, 2, 3, 4]
    for portion in portions:
        longest = max(len(prompt) + len(response) for prompt, response in (rows[index] for index in portion))
        assert len(portion) == 1 or longest * len(portion) <= features.PORTION
    assert list(features.portions([])) == []


def test_a_number_beyond_half_precision_is_the_largest_there_is(
    shared_tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "LARGEST", 0.01)
    (found,) = features.read(shared_tiny, [([1, 40], [41, 2])])
    assert np.abs(numbers(found)).max() == pytest.approx(0.01, rel=2**-10)
