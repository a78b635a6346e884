"""When a conversation gets two answers: ask which is better, and keep the choice like any other."""

import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
from sqlalchemy.orm import Session

from app import engine
from app.accounts.access import Access
from app.chat import conversations, personal_data
from app.errors import Conflict
from app.labeling import choices
from app.labeling.comparisons import add_comparison, add_response, find_or_add_prompt
from app.languages import _
from app.models import Answer, Chat, Checkpoint, now

# What the person may say, as (verdict, preferred, which answer the conversation goes on with).
CHOICES = {
    "left": ("preferred", "a", 0),
    "right": ("preferred", "b", 1),
    "same": ("tie", None, 0),
    "bad": ("both_bad", None, 0),
}


def answer_twice(session: Session, access: Access, chat: Chat) -> Callable[[], Callable[[Session], None]]:
    """What has the next answer written twice when it is called, without a session, and returns what keeps the two.

    They wait in `pending` until the person chooses. Two equal answers leave nothing to choose: the first is simply the
    answer.
    """
    seed = secrets.randbelow(2**31)
    call, checkpoint = conversations.call_for(session, access, chat, n=2, seed=seed, return_token_ids=True)
    checkpoint_id, chat_id = checkpoint.id if checkpoint else None, chat.id

    def ask() -> Callable[[Session], None]:
        with httpx.Client() as client:
            written = engine.complete(client, call.base_model, call.body)
        answers = [_kept(choice, written, seed + number) for number, choice in enumerate(written["choices"])]
        usable = [answer for answer in answers if answer["text"]]
        if len(usable) < 2 or usable[0]["text"] == usable[1]["text"]:
            text = usable[0]["text"] if usable else ""
            return partial(_keep_one, chat_id=chat_id, text=text, checkpoint_id=checkpoint_id)
        if secrets.randbelow(2):
            usable.reverse()
        sampling = {key: call.body[key] for key in ("temperature", "top_p", "max_tokens")}
        pending = {"answers": usable, "sampling": sampling, "checkpoint": checkpoint_id}
        return partial(_wait, chat_id=chat_id, pending=pending)

    return ask


def _wait(session: Session, chat_id: int, pending: dict[str, Any]) -> None:
    """Have two answers wait for a choice, where the conversation has not gone on without them meanwhile."""
    chat = session.get(Chat, chat_id, with_for_update=True)
    if chat is not None and chat.messages and chat.messages[-1]["role"] == "user" and not chat.pending:
        chat.pending, chat.updated_at = pending, now()


def _keep_one(session: Session, chat_id: int, text: str, checkpoint_id: int | None) -> None:
    conversations.keep_answer(session, chat_id, text, checkpoint_id)


def _kept(choice: dict[str, Any], written: dict[str, Any], seed: int) -> dict[str, Any]:
    return {
        "text": (choice["message"]["content"] or "").strip(),
        "prompt_token_ids": written.get("prompt_token_ids"),
        "token_ids": choice.get("token_ids"),
        "finish_reason": choice.get("finish_reason"),
        "seed": seed,
    }


def choose(session: Session, access: Access, chat_id: int, said: str) -> Chat:
    """Store which of the two answers was better, with its source, and go on with that one.

    Without consent (taken back meanwhile) the conversation goes on and nothing is stored.
    """
    chat = conversations.find(session, access, chat_id, lock=True)
    if chat.pending is None:
        raise Conflict(_("There is nothing to choose here any more. Reload the page."))
    verdict, preferred, number = CHOICES[said]
    answers, checkpoint_id = chat.pending["answers"], chat.pending["checkpoint"]
    if conversations.has_consented(session, access) and not _is_personal(chat):
        _store(session, access, chat, verdict, preferred)
    chat.pending = None
    session.flush()
    conversations.keep_answer(session, chat.id, answers[number]["text"], checkpoint_id)
    return chat


def _is_personal(chat: Chat) -> bool:
    """Whether the filter for personal data sees something in the conversation or in one of the two answers."""
    said = [turn["content"] for turn in chat.messages]
    return personal_data.found_in([*said, *(answer["text"] for answer in (chat.pending or {})["answers"])]) is not None


def _store(session: Session, access: Access, chat: Chat, verdict: str, preferred: str | None) -> Answer:
    pending = chat.pending or {}
    messages = [{"role": turn["role"], "content": turn["content"]} for turn in chat.messages]
    checkpoint = session.get(Checkpoint, pending["checkpoint"]) if pending["checkpoint"] else None
    prompt, _added = find_or_add_prompt(session, access.project, messages, sampled=False, source="chat")
    a, b = (
        add_response(
            session,
            prompt,
            answer["text"],
            source="chat",
            checkpoint=checkpoint,
            base_model=access.project.base_model,
            sampling={**pending["sampling"], "seed": answer["seed"]},
            prompt_token_ids=answer["prompt_token_ids"],
            token_ids=answer["token_ids"],
            finish_reason=answer["finish_reason"],
        )
        for answer in pending["answers"]
    )
    comparison = add_comparison(session, access.project, prompt, a, b, source="chat")
    return choices.keep(
        session, access.project, comparison, access.person, verdict=verdict, preferred=preferred, source="chat"
    )
