"""The language model, reached only by URL: any OpenAI-compatible server, ours or another."""

import base64
import logging
from dataclasses import dataclass
from typing import Any

import httpx

from app.errors import BadInput, Unavailable
from app.languages import N_, _
from app.models import Checkpoint
from app.settings import settings

log = logging.getLogger(__name__)
TIMEOUT = httpx.Timeout(300.0, connect=3.0)
DOWN = N_("The language model is not running yet or does not answer. Labelling goes on; try this again in a minute.")


@dataclass(frozen=True)
class Draw:
    """How one response is drawn from the model; `seed` makes it repeatable."""

    temperature: float
    top_p: float
    max_tokens: int
    seed: int | None = None


def url_for(base_model: str) -> str:
    """The engine that serves this base model; BadInput where none does."""
    engines = settings.engines
    if base_model in engines:
        return engines[base_model]
    if "*" in engines and base_model == settings.base_model:
        return engines["*"]
    served = ", ".join(name for name in engines if name != "*") or settings.base_model
    sentence = _(
        "No engine serves the base model {base_model!r}; this installation has {served}. "
        "Start an engine for it and add it to PAIRLOOP_ENGINE_URL as base=url."
    )
    raise BadInput(sentence.format(base_model=base_model, served=served))


def request_body(
    base_model: str, checkpoint: Checkpoint | None, messages: list[dict[str, Any]], draw: Draw, **more: Any
) -> dict[str, Any]:
    """The body of a chat completion. The checkpoint travels with each request; the engine loads it when first seen."""
    return {
        "model": base_model,
        "messages": messages,
        "temperature": draw.temperature,
        "top_p": draw.top_p,
        "max_tokens": draw.max_tokens,
        "checkpoint": _checkpoint(checkpoint) if checkpoint else None,
        **({"seed": draw.seed} if draw.seed is not None else {}),
        **more,
    }


def complete(client: httpx.Client, base_model: str, body: dict[str, Any]) -> dict[str, Any]:
    """One answered chat completion; Unavailable while the engine is down, BadInput with the engine's own sentence."""
    return _post(client, f"{url_for(base_model)}/v1/chat/completions", body)


def scores(
    client: httpx.Client, reward_model: Checkpoint, messages: list[dict[str, Any]], responses: list[str]
) -> list[float]:
    """The reward model's score of each response, in the unit of the reward; raises as `complete` does."""
    body = {
        "model": reward_model.base_model,
        "messages": messages,
        "responses": responses,
        "checkpoint": _checkpoint(reward_model),
    }
    found: list[float] = _post(client, f"{url_for(reward_model.base_model)}/v1/score", body)["scores"]
    return found


def features(client: httpx.Client, base_model: str, items: list[dict[str, Any]]) -> tuple[str, list[bytes | None]]:
    """What the base model makes of up to 16 responses, under a name that says how; raises as `complete` does.

    An item holds `messages`, `response` and, where it was sampled, `prompt_token_ids` and `token_ids`. None stands for
    a prompt that the model cannot read.
    """
    found = _post(client, f"{url_for(base_model)}/v1/features", {"model": base_model, "items": items})
    return found["features_from"], [None if one is None else decoded(one) for one in found["features"]]


def decoded(features: str) -> bytes:
    """A response's features as they are stored, from the form in which the engine sends them."""
    return base64.b64decode(features)


async def complete_async(client: httpx.AsyncClient, base_model: str, body: dict[str, Any]) -> dict[str, Any]:
    """The same for several at once; cancelling the task gives the request up."""
    try:
        answer = await client.post(f"{url_for(base_model)}/v1/chat/completions", json=body, timeout=TIMEOUT)
    except httpx.HTTPError as problem:
        raise Unavailable(_(DOWN)) from problem
    return _answered(answer)


def _post(client: httpx.Client, url: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = client.post(url, json=body, timeout=TIMEOUT)
    except httpx.HTTPError as problem:
        raise Unavailable(_(DOWN)) from problem
    return _answered(answer)


def _checkpoint(checkpoint: Checkpoint) -> dict[str, str]:
    return {"id": str(checkpoint.id), "url": checkpoint.url, "sha256": checkpoint.sha256}


def _answered(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_success:
        found: dict[str, Any] = answer.json()
        return found
    raise refused(answer.status_code, answer.text, answer.headers.get("content-type", ""))


def refused(status: int, text: str, content_type: str) -> BadInput | Unavailable:
    """The engine's refusal as our own error: its sentence where it has one."""
    if status >= 500:
        # While it loads its model it answers 503 to everybody who asks meanwhile, and its own log says how that ends.
        log.log(logging.DEBUG if status == 503 else logging.WARNING, "The engine answered %s: %.300s", status, text)
        return Unavailable(_(DOWN))
    sentence, code = text[:300], None
    if "json" in content_type:
        error = httpx.Response(status, text=text).json().get("error") or {}
        sentence, code = error.get("message", sentence), error.get("code")
    return BadInput(sentence, code=code)
