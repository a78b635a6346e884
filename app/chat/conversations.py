"""A person's conversations with the promoted policy: what was said, and whether it may be learnt from."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import engine
from app.accounts.access import Access
from app.chat import personal_data
from app.chat.gateway import LONGEST_ANSWER, Call
from app.checkpoints.checkpoints import promoted
from app.errors import BadInput, Conflict, NotFound
from app.labeling.comparisons import find_or_add_prompt
from app.languages import _
from app.models import Chat, ChatConsent, Checkpoint, Prompt, now
from app.models.policies import Sampling, Serving

LONGEST_MESSAGE = 20_000
"""Characters; a longer one is refused with a sentence."""


def recent(session: Session, access: Access, limit: int = 30) -> list[Chat]:
    """The person's own conversations in this project, newest first."""
    return list(
        session.scalars(
            select(Chat)
            .where(Chat.project_id == access.project.id, Chat.user_id == access.person.id)
            .order_by(Chat.id.desc())
            .limit(limit)
        )
    )


def find(session: Session, access: Access, chat_id: int, *, lock: bool = False) -> Chat:
    """One of the person's own conversations; other people's are not there for anybody."""
    query = select(Chat).where(
        Chat.id == chat_id, Chat.project_id == access.project.id, Chat.user_id == access.person.id
    )
    chat = session.scalar(query.with_for_update() if lock else query)
    if chat is None:
        raise NotFound(_("This conversation is not there. It may have been deleted; start a new one."))
    return chat


def read(session: Session, access: Access, chat_id: int) -> Chat:
    """A conversation that the person may read: their own, or one that its owner shares with the project."""
    chat = session.get(Chat, chat_id)
    shared = chat is not None and chat.project_id == access.project.id and chat.shared_at is not None
    return chat if chat is not None and shared else find(session, access, chat_id)


def share(session: Session, access: Access, chat_id: int, *, on: bool) -> Chat:
    """Let everybody in the project read one's own conversation, or nobody any more."""
    chat = find(session, access, chat_id, lock=True)
    chat.shared_at = (chat.shared_at or now()) if on else None
    return chat


def take_back(session: Session, access: Access, chat_id: int) -> Chat:
    """Take the last answer back, so that another one is written; Conflict where there is none."""
    chat = find(session, access, chat_id, lock=True)
    if chat.pending or not chat.messages or chat.messages[-1]["role"] != "assistant":
        raise Conflict(_("There is no answer here that could be written again."))
    chat.messages = chat.messages[:-1]
    chat.updated_at = now()
    return chat


def edit(session: Session, access: Access, chat_id: int, number: int, text: str) -> Chat:
    """Say something else in one's turn `number`, counted from 0; what came after it goes."""
    chat = find(session, access, chat_id, lock=True)
    if not 0 <= number < len(chat.messages) or chat.messages[number]["role"] != "user":
        raise Conflict(_("This message is not there any more. Reload the page."))
    _checked(text)
    chat.messages, chat.pending = chat.messages[:number], None
    session.flush()
    return say(session, access, chat.id, text)


def say(session: Session, access: Access, chat_id: int | None, text: str, best_of: int | None = None) -> Chat:
    """Add what the person said, in a new conversation where there is none yet; `best_of` is kept for the next ones."""
    text = _checked(text)
    chat = find(session, access, chat_id, lock=True) if chat_id else None
    if chat is None:
        chat = Chat(project_id=access.project.id, user_id=access.person.id, messages=[])
        session.add(chat)
    if chat.pending:
        raise Conflict(_("Choose one of the two answers first; then the conversation goes on."))
    turn = {"role": "user", "content": text}
    # A message that got no answer (the engine was down) is replaced by the new attempt, not stacked up.
    earlier = chat.messages[:-1] if chat.messages and chat.messages[-1]["role"] == "user" else chat.messages
    chat.messages = [*earlier, turn]
    if best_of is not None:
        chat.best_of = best_of
    chat.updated_at = now()
    session.flush()
    if has_consented(session, access):
        keep_prompt(session, access, chat.messages, "chat")
    return chat


def _checked(text: str) -> str:
    text = text.strip()
    if not text or "\x00" in text:
        raise BadInput(_("Write something first."))
    if len(text) > LONGEST_MESSAGE:
        raise BadInput(
            _("This message has {n:,} characters; {longest_message:,} is the most. Shorten it.").format(
                n=len(text), longest_message=LONGEST_MESSAGE
            )
        )
    return text


def keep_prompt(session: Session, access: Access, messages: Sequence[dict[str, Any]], source: str) -> Prompt | None:
    """Make a prompt of the project of what somebody asked who agreed to that; None where that must not be.

    The project must want it (its policy of serving), and the filter for personal data must see nothing in any turn.
    """
    if not Serving.from_json(access.project.serving).keep_prompts:
        return None
    said = [{"role": turn["role"], "content": turn["content"]} for turn in messages]
    if personal_data.found_in(turn["content"] for turn in said) is not None:
        return None
    return find_or_add_prompt(session, access.project, said, sampled=True, source=source)[0]


def call_for(session: Session, access: Access, chat: Chat, **more: Any) -> tuple[Call, Checkpoint | None]:
    """The engine's request for the next answer of this conversation, by the promoted policy."""
    checkpoint = promoted(session, access.project.id, "policy")
    sampling = Sampling.from_json(access.project.sampling)
    draw = engine.Draw(sampling.temperature, sampling.top_p, LONGEST_ANSWER)
    said = [{"role": turn["role"], "content": turn["content"]} for turn in chat.messages]
    body = engine.request_body(access.project.base_model, checkpoint, said, draw, **more)
    return Call(access.project.slug, access.project.base_model, body), checkpoint


def keep_answer(
    session: Session, chat_id: int, text: str, checkpoint_id: int | None, best_of: int | None = None
) -> Chat | None:
    """Add the model's answer to its question; nothing where the conversation went on without it meanwhile.

    `best_of` says among how many candidates it was picked, None where nothing was.
    """
    chat = session.get(Chat, chat_id, with_for_update=True)
    if chat is None or not text or not chat.messages or chat.messages[-1]["role"] != "user":
        return chat
    answer: dict[str, Any] = {
        "role": "assistant",
        "content": text,
        "checkpoint": str(checkpoint_id) if checkpoint_id else None,
    }
    if best_of is not None:
        answer["best_of"] = best_of
    chat.messages = [*chat.messages, answer]
    chat.checkpoint_id = checkpoint_id
    chat.updated_at = now()
    return chat


def forget(session: Session, access: Access, chat_id: int) -> None:
    """Delete a conversation. Choices made in it, by consent, stay where they were counted."""
    session.delete(find(session, access, chat_id, lock=True))


def asks_twice(session: Session, access: Access, chat: Chat) -> bool:
    """Whether the next answer comes twice, for the person to choose: only with consent, and a share of them.

    They are spread evenly, from the second answer of a conversation on: by a share of a quarter its second, sixth, ….
    """
    share = Serving.from_json(access.project.serving).answer_twice
    given = sum(turn["role"] == "assistant" for turn in chat.messages)
    # The count of twos rises by one from `given - 1` to `given` answers, where it is a whole number more.
    due = given > 0 and int(given * share + 1 - share) > int((given - 1) * share + 1 - share)
    return (due or share == 1) and has_consented(session, access)


def has_consented(session: Session, access: Access) -> bool:
    """Whether this person agreed that choices in this project's chat are kept for training."""
    found = select(ChatConsent.id).where(
        ChatConsent.project_id == access.project.id, ChatConsent.user_id == access.person.id
    )
    return session.scalar(found) is not None


def consent(session: Session, access: Access, *, agree: bool) -> None:
    """Agree, or take it back: from now on nothing more is kept."""
    if agree:
        row = insert(ChatConsent).values(project_id=access.project.id, user_id=access.person.id)
        session.execute(row.on_conflict_do_nothing())
        return
    session.execute(
        delete(ChatConsent).where(ChatConsent.project_id == access.project.id, ChatConsent.user_id == access.person.id)
    )
