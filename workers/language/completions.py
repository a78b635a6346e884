"""The shapes of OpenAI's chat completions, and the few fields that Pairloop adds (vLLM's names where they exist)."""

import secrets
from collections.abc import Sequence
from typing import Any, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from workers.language.decode import Event, Finish, Request
from workers.language.model import LanguageModel
from workers.language.sampling import Settings
from workers.language.tokens import encode_prompt

DEFAULT_MAX_TOKENS = 512
SEEDS = 2**31
MOST_SCORED = 64
MOST_READ = 16
MOST_ALTERNATIVES = 20


class Message(BaseModel):
    """One turn; content in parts is joined, and only text parts are accepted."""

    role: str
    content: str = ""

    @field_validator("content", mode="before")
    @classmethod
    def _text(cls, content: Any) -> Any:
        if content is None:
            return ""
        if isinstance(content, list):
            if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
                raise ValueError("This model reads text only; send text parts.")
            return "".join(part["text"] for part in content)
        return content


class CheckpointField(BaseModel):
    """Which adapter answers."""

    id: str
    url: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class StreamOptions(BaseModel):
    """What a stream carries besides text."""

    include_usage: bool = False
    continuous_usage_stats: bool = False
    """With every piece the tokens so far, as vLLM has it."""


class ChatRequest(BaseModel):
    """The body of POST /v1/chat/completions; fields of OpenAI's that are not here are ignored."""

    model: str
    messages: list[Message] = Field(min_length=1)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    n: int = Field(1, ge=1, le=64)
    seed: int | None = None
    stop: list[str] = Field(default_factory=list)
    stream: bool = False
    stream_options: StreamOptions | None = None
    return_token_ids: bool = False
    return_features: bool = False
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=MOST_ALTERNATIVES)
    checkpoint: CheckpointField | None = None

    @field_validator(
        *("temperature", "top_p", "n", "stream", "return_token_ids", "return_features", "logprobs", "top_logprobs"),
        mode="before",
    )
    @classmethod
    def _default(cls, value: Any, info: Any) -> Any:
        return cls.model_fields[info.field_name].default if value is None else value

    @field_validator("stop", mode="before")
    @classmethod
    def _stops(cls, stop: Any) -> Any:
        return [] if stop is None else [stop] if isinstance(stop, str) else stop

    @model_validator(mode="after")
    def _features_come_whole(self) -> Self:
        if self.return_features and self.stream:
            raise ValueError("Features exist once an answer is whole; ask for them without stream")
        return self

    @model_validator(mode="after")
    def _alternatives_need_logprobs(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        return self

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the number of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def requests(self, lm: LanguageModel) -> list[Request]:
        """One request per choice; choice i has the seed + i. Raises ContextExceeded, ConversationRefused."""
        prompt = encode_prompt(lm, [turn.model_dump() for turn in self.messages])
        wanted = self.max_completion_tokens or self.max_tokens or DEFAULT_MAX_TOKENS
        settings = Settings(self.temperature, self.top_p, min(wanted, lm.context - len(prompt)))
        seed = secrets.randbelow(SEEDS) if self.seed is None else self.seed
        return [Request(prompt, settings, seed + index, self.top_logprobs) for index in range(self.n)]


class ScoreRequest(BaseModel):
    """The body of POST /v1/score: which of some responses to a prompt a reward model likes."""

    model: str
    messages: list[Message] = Field(min_length=1)
    responses: list[str] = Field(min_length=1, max_length=MOST_SCORED)
    checkpoint: CheckpointField


class Unread(BaseModel):
    """A response whose features are wanted; its token ids, where it was sampled."""

    messages: list[Message] = Field(min_length=1)
    response: str
    prompt_token_ids: list[int] | None = None
    token_ids: list[int] | None = None


class FeaturesRequest(BaseModel):
    """The body of POST /v1/features: responses that the base model shall read."""

    model: str
    items: list[Unread] = Field(min_length=1, max_length=MOST_READ)


def choice(index: int, text: str, finish: Finish, **more: Any) -> dict[str, Any]:
    """One choice of a completion; `more` holds what was asked for besides, such as token_ids."""
    said = {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {**said, **more}


def logprobs_of(lm: LanguageModel, events: Sequence[Event]) -> dict[str, Any]:
    """OpenAI's `logprobs`: each token of the text with its log-probability and the most probable alternatives.

    Under the whole distribution at the request's temperature (at temperature 0: at 1). The token that ends the turn is
    no text and is left out.
    """
    shown = [event for event in events if event.finish != "stop"]
    return {"content": [_token(lm, event) for event in shown], "refusal": None}


def _token(lm: LanguageModel, event: Event) -> dict[str, Any]:
    others = [_named(lm, token, logprob) for token, logprob in event.top]
    return {**_named(lm, event.token, event.logprob), "top_logprobs": others}


def _named(lm: LanguageModel, token: int, logprob: float) -> dict[str, Any]:
    text = str(lm.tokenizer.decode([token]))
    # -9999.0 is what OpenAI sends for a token that is as good as impossible; JSON has no infinity.
    return {"token": text, "logprob": max(logprob, -9999.0), "bytes": list(text.encode())}


def first_choice(index: int) -> dict[str, Any]:
    """What opens a choice in a stream."""
    return {"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}


def chunk_choice(index: int, text: str, finish: Finish | None, **more: Any) -> dict[str, Any]:
    """A piece of one choice in a stream; `more` as in `choice`."""
    return {"index": index, "delta": {"content": text} if text else {}, "finish_reason": finish, **more}


def usage(prompt: int, completion: int) -> dict[str, int]:
    """How many tokens were read and written."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def error(message: str, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    """OpenAI's shape of an error."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
