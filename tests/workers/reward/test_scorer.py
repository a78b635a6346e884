"""A running engine scores responses with the reward model that the request names, while it decodes for others."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.workers.reward.test_model import make
from workers import artifacts
from workers.language.checkpoints import Checkpoint, CheckpointRefused
from workers.language.errors import ContextExceeded
from workers.language.model import LanguageModel
from workers.language.serving import Engine
from workers.language.tokens import encode_prompt, encode_response
from workers.reward.model import score_all, write
from workers.reward.scorer import KEPT, Scorer

PROMPT = [{"role": "user", "content": "Name a tree."}]
RESPONSES = ["Oak.", "I will not name one, and I will say so at length.", "ok"]


def checkpoint_in(store: Path, lm: LanguageModel, name: str, lower: int | None) -> Checkpoint:
    url = f"{store.as_uri()}/checkpoints/{name}"
    sha256 = write(make(lm, lower), url, {"mean": 0.5, "std": 2.0}, {"named": name})
    lm.adapters.clear()
    return Checkpoint(name, url, sha256)


@pytest.mark.parametrize("lower", [None, 1])
def test_the_scores_are_the_reward_model_s_own_in_its_unit(
    tiny: LanguageModel, tmp_path: Path, lower: int | None
) -> None:
    checkpoint = checkpoint_in(tmp_path, tiny, "one", lower)
    found = Scorer(tiny, tmp_path.as_uri()).scores(checkpoint, PROMPT, RESPONSES)
    prompt = encode_prompt(tiny, PROMPT)
    raw = score_all(make(tiny, lower), [(prompt, encode_response(tiny, text)) for text in RESPONSES]).tolist()
    assert found == pytest.approx([(score - 0.5) / 2.0 for score in raw], rel=1e-5)
    assert len(set(found)) == len(RESPONSES)


def test_only_the_last_few_stay(tiny: LanguageModel, tmp_path: Path) -> None:
    scorer = Scorer(tiny, tmp_path.as_uri())
    several = [checkpoint_in(tmp_path, tiny, str(number), 1) for number in range(KEPT + 1)]
    for checkpoint in several:
        scorer.scores(checkpoint, PROMPT, ["Oak."])
    assert list(tiny.adapters) == [f"reward {checkpoint.sha256}" for checkpoint in several[1:]]


def test_a_checkpoint_that_is_no_reward_model_or_lies_elsewhere_is_refused(tiny: LanguageModel, tmp_path: Path) -> None:
    scorer = Scorer(tiny, (tmp_path / "store").as_uri())
    outside = checkpoint_in(tmp_path, tiny, "outside", None)
    with pytest.raises(CheckpointRefused, match="does not lie in this engine's store"):
        scorer.scores(outside, PROMPT, RESPONSES)
    url = f"{(tmp_path / 'store').as_uri()}/policy"
    policy = Checkpoint("2", url, artifacts.write(url, "policy", "tiny", {"x.json": b""}))
    with pytest.raises(CheckpointRefused, match="holds a policy checkpoint, not a reward model"):
        scorer.scores(policy, PROMPT, RESPONSES)


def test_what_the_model_cannot_read_whole_is_refused(tiny: LanguageModel, tmp_path: Path) -> None:
    scorer = Scorer(tiny, tmp_path.as_uri())
    with pytest.raises(ContextExceeded, match="Shorten it"):
        scorer.scores(checkpoint_in(tmp_path, tiny, "one", None), PROMPT, ["oak " * tiny.context])


@pytest.fixture
def api(tiny_engine: tuple[Engine, str, Path]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=tiny_engine[1], timeout=30) as client:
        yield client


def test_the_engine_scores_while_it_samples(
    tiny_engine: tuple[Engine, str, Path], api: httpx.Client, tiny: LanguageModel
) -> None:
    engine, _, store = tiny_engine
    checkpoint = checkpoint_in(store, tiny, "reward-1", 1)
    alone = Scorer(tiny, store.as_uri()).scores(checkpoint, PROMPT, RESPONSES)
    drawn: list[Any] = []
    body = {"model": "tiny", "messages": PROMPT, "n": 8, "seed": 1, "max_tokens": 100}
    before = api.post("/v1/chat/completions", json=body).json()["choices"]
    sampling = threading.Thread(
        target=lambda: drawn.extend(api.post("/v1/chat/completions", json=body).json()["choices"])
    )
    sampling.start()
    wanted = {"model": "tiny", "messages": PROMPT, "responses": RESPONSES, "checkpoint": vars(checkpoint)}
    while sampling.is_alive():
        answer = api.post("/v1/score", json=wanted)
        assert answer.json()["scores"] == pytest.approx(alone, rel=1e-5)
    sampling.join()
    assert [one["message"] for one in drawn] == [one["message"] for one in before]
    assert engine.scheduler.active_rows == 0


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"model": "gpt-9"}, 404, "not gpt-9"),
        ({"responses": []}, 422, "responses"),
        ({"responses": ["x"] * 65}, 422, "responses"),
        (
            {"checkpoint": {"id": "1", "url": "file:///etc", "sha256": "0" * 64}},
            422,
            "does not lie in this engine's store",
        ),
    ],
)
def test_a_request_that_cannot_be_answered_says_why(
    tiny_engine: tuple[Engine, str, Path], api: httpx.Client, change: dict[str, Any], status: int, sentence: str
) -> None:
    checkpoint = {"id": "1", "url": f"{tiny_engine[2].as_uri()}/nothing", "sha256": "0" * 64}
    body = {"model": "tiny", "messages": PROMPT, "responses": RESPONSES, "checkpoint": checkpoint}
    answer = api.post("/v1/score", json=body | change)
    assert answer.status_code == status
    assert sentence in answer.json()["error"]["message"]
