"""The official OpenAI client against a real server and engine: its usual calls, limits, and a promotion under way."""

import threading
from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from app.accounts import quotas
from app.checkpoints import checkpoints
from app.database import engine, open_session
from app.models import ApiToken, Checkpoint, Project, TokenUse, User
from app.settings import settings
from tests.live_server import serving
from tests.pairs import make_checkpoint
from tests.people import bearer, make_person, make_project
from workers import artifacts
from workers.language import adapters
from workers.language.adapters import LoraConfig
from workers.language.model import load

QUESTION = [{"role": "user", "content": "Say something."}]
ASKED = {"model": "garden", "messages": QUESTION, "max_tokens": 8, "seed": 5}


@pytest.fixture
def client(committed: None, engine_url: str) -> Iterator[OpenAI]:
    with open_session() as session:
        make_project(session)
        token = bearer(session, make_person(session, "alice", "operator"))["Authorization"].removeprefix("Bearer ")
    with serving() as url, OpenAI(base_url=f"{url}/v1", api_key=token, max_retries=0) as client:
        yield client


def policies(count: int) -> list[int]:
    """Policies with real files in the store that the engine reads."""
    lm = load("tiny")
    with open_session() as session:
        project, numbers = session.query(Project).one(), []
        for seed in range(count):
            adapters.create(lm, f"policy {seed}", LoraConfig(rank=2, alpha=4), seed)
            made = make_checkpoint(session, project, "policy")
            made.url = f"{settings.artifacts}/checkpoints/openai-{seed}/"
            made.sha256 = artifacts.write(made.url, "policy", "tiny", adapters.files(lm, f"policy {seed}"))
            numbers.append(made.id)
        return numbers


def test_its_usual_calls(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["garden", "garden@base"]
    whole = client.chat.completions.create(**ASKED)  # type: ignore[call-overload]
    assert (whole.model, whole.system_fingerprint) == ("garden", "base")
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    several = client.chat.completions.create(**ASKED, n=3)  # type: ignore[call-overload]
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert several.choices[0].message.content == whole.choices[0].message.content, "the same seed says the same"
    text = whole.choices[0].message.content
    cut = client.chat.completions.create(**ASKED, stop=[text[2:4]])  # type: ignore[call-overload]
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == (text[: text.index(text[2:4])], "stop")


def test_streams_and_their_usage(client: OpenAI) -> None:
    whole = client.chat.completions.create(**ASKED)  # type: ignore[call-overload]
    chunks = list(client.chat.completions.create(**ASKED, stream=True))  # type: ignore[call-overload]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert all(chunk.usage is None and chunk.system_fingerprint == "base" for chunk in chunks)
    counted = list(client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True}))  # type: ignore[call-overload]
    assert (counted[-1].choices, counted[-1].usage) == ([], whole.usage)


def test_logprobs_name_each_token_and_its_alternatives(client: OpenAI) -> None:
    asked = {**ASKED, "temperature": 0, "logprobs": True, "top_logprobs": 3}
    whole = client.chat.completions.create(**asked)  # type: ignore[call-overload]
    content = whole.choices[0].logprobs.content
    assert "".join(one.token for one in content) == whole.choices[0].message.content
    for one in content:
        assert len(one.top_logprobs) == 3
        # Greedy takes the most probable token, so it stands first among the alternatives.
        assert one.top_logprobs[0].token == one.token
        assert one.top_logprobs[0].logprob == pytest.approx(one.logprob, abs=1e-4)
        assert one.logprob <= 0
    streamed = [
        one
        for chunk in client.chat.completions.create(**asked, stream=True)  # type: ignore[call-overload]
        for choice in chunk.choices
        if choice.logprobs
        for one in choice.logprobs.content
    ]
    assert [one.token for one in streamed] == [one.token for one in content]


def test_refusals_are_its_own_errors(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(**{**ASKED, "model": "desert"})  # type: ignore[call-overload]
    with pytest.raises(openai.UnprocessableEntityError):
        client.chat.completions.create(**ASKED, top_logprobs=3)  # type: ignore[call-overload]
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


def test_a_token_has_its_limits_and_its_use_is_counted(client: OpenAI) -> None:
    used = client.chat.completions.create(**ASKED).usage.total_tokens  # type: ignore[call-overload]
    list(client.chat.completions.create(**ASKED, stream=True))  # type: ignore[call-overload]
    with open_session() as session:
        token, alice = session.query(ApiToken).one(), session.query(User).one()
        use = session.query(TokenUse).one()
        assert (use.requests, use.prompt_tokens + use.completion_tokens) == (2, 2 * used)
        quotas.choose(session, alice, token.id, "", str(2 * used))
    with pytest.raises(openai.RateLimitError, match="tokens of today"):
        client.chat.completions.create(**ASKED)  # type: ignore[call-overload]
    with open_session() as session:
        quotas.choose(session, session.get_one(User, alice.id), token.id, "2", "")

    def ask_five_times() -> None:  # a minute may end in between
        for _ in range(5):
            client.chat.completions.create(**ASKED)  # type: ignore[call-overload]

    with pytest.raises(openai.RateLimitError) as refused:
        ask_five_times()
    assert 0 < int(refused.value.response.headers["retry-after"]) <= 60


def test_promotions_drop_no_stream(client: OpenAI) -> None:
    numbers = policies(2)
    ended: list[tuple[str, str]] = []
    broken: list[Exception] = []
    go_on = threading.Event()

    def stream() -> None:
        try:
            while not go_on.is_set():
                asked = {**ASKED, "max_tokens": 24}
                chunks = list(client.chat.completions.create(**asked, stream=True))  # type: ignore[call-overload]
                (writer,) = {chunk.system_fingerprint for chunk in chunks}
                ended.append((writer, chunks[-1].choices[0].finish_reason))
        except Exception as problem:
            broken.append(problem)

    threads = [threading.Thread(target=stream) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in [*numbers, *numbers]:
        before = len(ended)
        with open_session() as session:
            checkpoints.promote(session, None, session.get_one(Checkpoint, number))
        while len(ended) < before + 4 and not broken:
            threading.Event().wait(0.02)
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert broken == []
    assert {reason for _, reason in ended} <= {"stop", "length"}
    assert {f"checkpoint-{number}" for number in numbers} <= {writer for writer, _ in ended}


def test_no_connection_is_held_while_the_model_writes(client: OpenAI) -> None:
    threads = [
        threading.Thread(target=lambda: client.chat.completions.create(**{**ASKED, "max_tokens": 200}))  # type: ignore[call-overload]
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    held = []
    while any(thread.is_alive() for thread in threads):
        held.append(engine().pool.checkedout())  # type: ignore[attr-defined]
        threading.Event().wait(0.02)
    # Each request holds one for a moment at its beginning and its end; while all write, nobody does.
    assert held.count(0) > len(held) / 2, held
