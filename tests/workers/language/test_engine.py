"""The engine over HTTP, driven by the official client and by hand: answers, streams, checkpoints, refusals, load."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch

from tests.workers.conftest import random_model
from workers import artifacts
from workers.language import adapters
from workers.language.adapters import LoraConfig
from workers.language.decode import Batch, generate
from workers.language.model import LanguageModel
from workers.language.sampling import Settings
from workers.language.serving import Engine
from workers.language.tokens import encode_prompt

HELLO: Any = [{"role": "user", "content": "Hello, who are you?"}]
# <|im_start|>user\n … <|im_end|>\n<|im_start|>assistant\n
TEMPLATE = 6 + 2 + 11
TinyEngine = tuple[Engine, str, Path]


@pytest.fixture
def api(tiny_engine: TinyEngine) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=tiny_engine[1], timeout=30) as client:
        yield client


def ask(api: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = api.post("/v1/chat/completions", json={"model": "tiny", "messages": HELLO, **fields})
    body: dict[str, Any] = answer.json()
    return {"status": answer.status_code, **body}


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this never became true"
        time.sleep(0.01)


@pytest.fixture
def checkpoint(tiny_engine: TinyEngine, shared_tiny: LanguageModel) -> Iterator[Callable[..., dict[str, str]]]:
    """Makes a policy checkpoint in the engine's store whose adapter differs by `seed`."""

    def make(
        seed: int, kind: str = "policy", base_model: str = "tiny", lm: LanguageModel = shared_tiny
    ) -> dict[str, str]:
        adapter = adapters.create(lm, f"made {seed}", LoraConfig(rank=2), seed)
        with torch.no_grad():
            for _, b in adapter.pairs.values():
                b.normal_(std=0.5, generator=torch.Generator().manual_seed(seed))
        url = f"{tiny_engine[2].as_uri()}/checkpoints/{kind}-{base_model}-{seed}"
        sha256 = artifacts.write(url, kind, base_model, adapters.files(lm, f"made {seed}"))
        return {"id": str(seed), "url": url, "sha256": sha256}

    yield make
    shared_tiny.adapters.clear()


def test_the_official_client_gets_an_answer(tiny_engine: TinyEngine) -> None:
    client = openai.OpenAI(base_url=f"{tiny_engine[1]}/v1", api_key="none")
    answer = client.chat.completions.create(model="tiny", messages=HELLO, n=2, seed=4, max_tokens=30, top_p=0.9)
    assert answer.choices[0].message.content
    assert answer.choices[0].message.content.isprintable() or "\n" in answer.choices[0].message.content
    assert answer.choices[0].message.content != answer.choices[1].message.content
    assert {choice.finish_reason for choice in answer.choices} <= {"stop", "length"}
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == TEMPLATE + len("Hello, who are you?")
    assert [model.id for model in client.models.list()] == ["tiny"]
    client.close()


def test_the_official_client_streams_the_same_answer(tiny_engine: TinyEngine) -> None:
    client = openai.OpenAI(base_url=f"{tiny_engine[1]}/v1", api_key="none")
    fixed: dict[str, Any] = {"model": "tiny", "messages": HELLO, "seed": 4, "max_tokens": 30}
    whole = client.chat.completions.create(**fixed)
    chunks = list(client.chat.completions.create(**fixed, stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert len([piece for piece in pieces if piece]) > 1
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage
    client.close()


def test_token_ids_are_those_of_the_decoder(api: httpx.Client, shared_tiny: LanguageModel) -> None:
    answer = ask(api, seed=7, n=3, max_tokens=25, temperature=0.9, top_p=0.8, return_token_ids=True)
    prompt = encode_prompt(shared_tiny, HELLO)
    assert answer["prompt_token_ids"] == prompt
    (expected,) = generate(shared_tiny, [prompt], 3, Settings(0.9, 0.8, 25), seed=7)
    assert [choice["token_ids"] for choice in answer["choices"]] == [one.token_ids for one in expected]
    assert [choice["finish_reason"] for choice in answer["choices"]] == [one.finish for one in expected]
    assert "token_ids" not in ask(api, max_tokens=2)["choices"][0]


def test_choice_i_has_the_seed_plus_i_whatever_else_is_sampled(api: httpx.Client, tiny_engine: TinyEngine) -> None:
    alone = [ask(api, seed=seed, max_tokens=20)["choices"][0]["message"]["content"] for seed in (10, 11, 12)]
    crowd = [threading.Thread(target=lambda s=seed: ask(api, seed=s, n=4, max_tokens=60)) for seed in range(50, 56)]
    for thread in crowd:
        thread.start()
    together = ask(api, seed=10, n=3, max_tokens=20)
    for thread in crowd:
        thread.join()
    assert [choice["message"]["content"] for choice in together["choices"]] == alone


def test_without_a_seed_answers_differ(api: httpx.Client) -> None:
    texts = {ask(api, max_tokens=20)["choices"][0]["message"]["content"] for _ in range(4)}
    assert len(texts) > 1


def test_a_checkpoint_answers_and_the_base_model_stays_itself(
    api: httpx.Client, checkpoint: Callable[..., dict[str, str]]
) -> None:
    base = ask(api, seed=1, max_tokens=20)["choices"]
    policies = [checkpoint(seed) for seed in range(6)]
    answers = [ask(api, seed=1, max_tokens=20, checkpoint=policy)["choices"] for policy in policies]
    assert all(choices != base for choices in answers)
    assert len({choices[0]["message"]["content"] for choices in answers}) == 6
    # Six is more than are kept: the first was forgotten and is loaded again.
    assert ask(api, seed=1, max_tokens=20, checkpoint=policies[0])["choices"] == answers[0]
    assert ask(api, seed=1, max_tokens=20, checkpoint=None)["choices"] == base


def test_only_a_few_adapters_are_kept(
    api: httpx.Client, tiny_engine: TinyEngine, checkpoint: Callable[..., dict[str, str]]
) -> None:
    for seed in range(10, 17):
        assert ask(api, max_tokens=2, checkpoint=checkpoint(seed))["status"] == 200
    lm = tiny_engine[0].lm
    assert lm is not None
    until(lambda: len(lm.adapters) <= 5)


def test_a_checkpoint_that_cannot_be_used_is_refused_with_a_sentence(
    api: httpx.Client, tiny_engine: TinyEngine, checkpoint: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    good = checkpoint(20)
    outside = (tmp_path / "20").as_uri()
    artifacts.write(outside, "policy", "tiny", artifacts.read(good["url"]))
    bad = {
        "does not lie in this engine's store": {**good, "url": outside},
        "SHA-256 differs": {**good, "sha256": "0" * 64},
        "There is no file": {**good, "sha256": "0" * 64, "url": good["url"] + "0"},
        "is a reward of tiny": checkpoint(21, kind="reward"),
        "is a policy of other": checkpoint(22, base_model="other"),
        "does not fit the model tiny": checkpoint(23, lm=random_model("llama")),
    }
    for sentence, fields in bad.items():
        answer = ask(api, checkpoint=fields)
        assert answer["status"] == 422, sentence
        assert sentence in answer["error"]["message"]
    assert ask(api, checkpoint={"id": "1", "url": "x", "sha256": "short"})["status"] == 422
    assert ask(api, max_tokens=2, checkpoint=good)["status"] == 200


def test_a_conversation_longer_than_the_context_is_refused(api: httpx.Client) -> None:
    answer = ask(api, messages=[{"role": "user", "content": "x" * 600}])
    assert answer["status"] == 400
    assert answer["error"]["code"] == "context_length_exceeded"
    assert answer["error"]["message"] == (
        "This conversation is 619 tokens long; the model reads at most 512. Shorten it."
    )


def test_max_tokens_is_cut_to_what_fits(api: httpx.Client) -> None:
    answer = ask(api, messages=[{"role": "user", "content": "x" * 485}], max_tokens=500, return_token_ids=True)
    assert len(answer["prompt_token_ids"]) == 485 + TEMPLATE
    assert len(answer["choices"][0]["token_ids"]) <= 512 - len(answer["prompt_token_ids"])


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"model": "other"}, 404, "This engine serves tiny, not other."),
        ({"messages": []}, 422, "messages"),
        ({"top_p": 0}, 422, "top_p"),
        ({"temperature": -1}, 422, "temperature"),
        ({"max_tokens": 0}, 422, "max_tokens"),
        ({"n": 1000}, 422, "n:"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 422, "text only"),
    ],
)
def test_bad_fields_get_a_sentence(api: httpx.Client, fields: dict[str, Any], status: int, sentence: str) -> None:
    answer = ask(api, **fields)
    assert answer["status"] == status
    assert sentence in answer["error"]["message"]


def test_content_in_parts_and_null_fields_are_read_as_openai_means_them(api: httpx.Client) -> None:
    parts = [
        {"role": "user", "content": [{"type": "text", "text": "Hello, "}, {"type": "text", "text": "who are you?"}]}
    ]
    plain = ask(api, seed=3, max_tokens=10)
    nulls = {"top_p": None, "temperature": None, "stop": None, "n": None, "stream": None, "max_tokens": None}
    assert ask(api, seed=3, messages=parts, **{**nulls, "max_completion_tokens": 10})["choices"] == plain["choices"]


def test_text_ends_before_a_stop_string(api: httpx.Client) -> None:
    whole = ask(api, seed=2, max_tokens=60)["choices"][0]["message"]["content"]
    stop = whole[5:7]
    cut = ask(api, seed=2, max_tokens=60, stop=[stop, "never"], return_token_ids=True)["choices"][0]
    assert cut["message"]["content"] == whole[: whole.index(stop)]
    assert cut["finish_reason"] == "stop"
    assert len(cut["token_ids"]) == whole.index(stop) + len(stop)


def test_a_stream_that_nobody_reads_any_more_ends(api: httpx.Client, tiny_engine: TinyEngine) -> None:
    engine = tiny_engine[0]
    body = {"model": "tiny", "messages": HELLO, "n": 32, "max_tokens": 400, "stream": True}
    with api.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_lines())
        until(lambda: engine.scheduler.active_rows > 0)
    until(lambda: engine.scheduler.active_rows == 0, 5)


def test_a_client_that_hangs_up_frees_its_rows(tiny_engine: TinyEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Batch.step

    def slow(self: Batch) -> list[Any]:
        time.sleep(0.05)
        return plain(self)

    monkeypatch.setattr(Batch, "step", slow)
    engine, url, _ = tiny_engine
    body = {"model": "tiny", "messages": HELLO, "n": 32, "max_tokens": 400, "seed": 0}
    with httpx.Client(base_url=url) as client, pytest.raises(httpx.ReadTimeout):
        client.post("/v1/chat/completions", json=body, timeout=0.3)
    assert engine.scheduler.active_rows > 0
    # All 32 to their ends would be more than 100 steps, five seconds.
    until(lambda: engine.scheduler.active_rows == 0, 2)


def test_a_failing_batch_fails_alone(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Batch) -> list[Any]:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "step", fails)
        answer = ask(api, max_tokens=5)
    assert answer["status"] == 500
    assert "try it again" in answer["error"]["message"]
    assert ask(api, max_tokens=5)["status"] == 200


def test_a_stream_does_not_wait_for_many_others(tiny_engine: TinyEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty-four long responses are under way; a stream's first token comes within a few steps of the decode thread."""
    engine, url, _ = tiny_engine
    steps, plain = [0], Batch.step

    def counted(self: Batch) -> list[Any]:
        steps[0] += 1
        time.sleep(0.005)
        return plain(self)

    monkeypatch.setattr(Batch, "step", counted)
    with httpx.Client(base_url=url, timeout=60) as client:
        # Greedy text of this model never ends by itself.
        body = {"model": "tiny", "messages": HELLO, "n": 32, "max_tokens": 150, "temperature": 0}
        crowd = [threading.Thread(target=lambda: client.post("/v1/chat/completions", json=body)) for _ in range(2)]
        for thread in crowd:
            thread.start()
        until(lambda: engine.scheduler.active_rows > 32)
        before = steps[0]
        with client.stream(
            "POST", "/v1/chat/completions", json={**body, "n": 1, "max_tokens": 5, "stream": True}
        ) as chat:
            lines = (line for line in chat.iter_lines() if '"content": "' in line and '"content": ""' not in line)
            next(lines)
            first = steps[0] - before
        assert engine.scheduler.active_rows > 0
        for thread in crowd:
            thread.join()
    assert first <= 6


def test_health_and_refusal_before_the_model_is_there(caplog: pytest.LogCaptureFixture) -> None:
    from fastapi.testclient import TestClient

    from workers.language.engine import create_app

    engine = Engine("/no/such/model", "memory://artifacts", Path("/no/such/cache"))
    client = TestClient(create_app(engine))
    assert client.get("/health").status_code == 503
    refused = client.post("/v1/chat/completions", json={"model": "/no/such/model", "messages": HELLO})
    assert refused.status_code == 503
    assert "still being loaded" in refused.json()["error"]["message"]
    engine.load()
    assert client.get("/health").json()["status"] == "failed"
    assert "There is no model directory /no/such/model" in client.get("/health").json()["why"]
    assert "The engine cannot serve /no/such/model: There is no model directory" in caplog.text


def test_metrics_count_tokens_and_requests(api: httpx.Client) -> None:
    def metric(name: str) -> float:
        lines = api.get("/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith(name)).rsplit(" ", 1)[1])

    ask(api, max_tokens=3, temperature=0)
    tokens, requests = metric("pairloop_engine_tokens_total"), metric('pairloop_engine_requests_total{status="200"}')
    answer = ask(api, max_tokens=3, temperature=0)
    assert metric("pairloop_engine_tokens_total") == tokens + answer["usage"]["completion_tokens"]
    assert metric('pairloop_engine_requests_total{status="200"}') == requests + 1
    assert metric("pairloop_engine_active_rows") == 0
    assert api.get("/health").json() == {"status": "ok", "base_model": "tiny"}
