"""Writing again, editing, sharing, and what becomes a prompt: each in one's own conversation alone, and by consent."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.chat import choices, conversations
from app.errors import Conflict, NotFound
from app.models import Answer, Chat, Project, Prompt, User
from tests.people import bearer, make_person, make_project

ANSWERED = [{"role": "user", "content": "One"}, {"role": "assistant", "content": "First", "checkpoint": "7"}]


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def alice(session: Session) -> User:
    return make_person(session, "alice", "annotator")


@pytest.fixture
def access(project: Project, alice: User) -> Access:
    return Access(alice, project)


@pytest.fixture
def chat(session: Session, project: Project, alice: User) -> Chat:
    made = Chat(project_id=project.id, user_id=alice.id, messages=ANSWERED)
    session.add(made)
    session.flush()
    return made


def test_the_last_answer_is_taken_back_to_be_written_again(session: Session, access: Access, chat: Chat) -> None:
    assert conversations.take_back(session, access, chat.id).messages == ANSWERED[:1]
    with pytest.raises(Conflict):
        conversations.take_back(session, access, chat.id)


def test_an_edited_turn_takes_what_came_after_it_along(session: Session, access: Access, chat: Chat) -> None:
    chat.messages = [*ANSWERED, {"role": "user", "content": "Two"}, {"role": "assistant", "content": "Second"}]
    session.flush()
    conversations.edit(session, access, chat.id, 2, "Three")
    assert [turn["content"] for turn in chat.messages] == ["One", "First", "Three"]
    with pytest.raises(Conflict):
        conversations.edit(session, access, chat.id, 1, "not mine to say")


def test_an_answer_says_who_wrote_it(client: TestClient, session: Session, alice: User, chat: Chat) -> None:
    shown = client.get(f"/projects/garden/chat/{chat.id}", headers=bearer(session, alice)).text
    assert "By checkpoint 7" in shown


def test_a_shared_conversation_is_read_by_the_project_and_written_by_its_owner(
    client: TestClient, session: Session, project: Project, alice: User, access: Access, chat: Chat
) -> None:
    bob = make_person(session, "bob")
    headers, address = bearer(session, bob), f"/projects/garden/chat/{chat.id}"
    assert client.get(address, headers=headers).status_code == 404
    own = bearer(session, alice)
    client.post(f"{address}/share", data={"on": "true"}, headers=own)
    shown = client.get(address, headers=headers)
    assert shown.status_code == 200
    assert "First" in shown.text
    assert 'id="composer"' not in shown.text
    for way, data in (("", {"text": "x"}), ("/again", {}), ("/edit", {"turn": "0", "text": "x"}), ("/delete", {})):
        assert client.post(f"{address}{way}", data=data, headers=headers).status_code == 404
    with pytest.raises(NotFound):
        conversations.read(session, Access(bob, make_project(session, "other")), chat.id)
    client.post(f"{address}/share", data={"on": "false"}, headers=own)
    assert client.get(address, headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("wanted", "consented", "text", "kept"),
    [
        (True, True, "When do I sow beans?", 1),
        (False, True, "When do I sow beans?", 0),
        (True, False, "When do I sow beans?", 0),
        (True, True, "Write to jane@example.org", 0),
    ],
)
def test_what_people_ask_becomes_a_prompt_only_by_consent_and_past_the_filter(
    session: Session, project: Project, access: Access, wanted: bool, consented: bool, text: str, kept: int
) -> None:
    project.serving = {"keep_prompts": wanted}
    if consented:
        conversations.consent(session, access, agree=True)
    conversations.say(session, access, None, text)
    found = session.scalars(select(Prompt)).all()
    assert [(one.source, one.sampled) for one in found] == [("chat", True)] * kept


def test_a_choice_about_personal_data_is_not_kept(session: Session, access: Access, chat: Chat) -> None:
    conversations.consent(session, access, agree=True)
    two = [{"text": "Sure.", "seed": 1}, {"text": "Ask jane@example.org.", "seed": 2}]
    chat.messages, chat.pending = ANSWERED[:1], {"answers": two, "sampling": {}, "checkpoint": None}
    session.flush()
    choices.choose(session, access, chat.id, "left")
    assert chat.messages[-1]["content"] == "Sure."
    assert session.scalars(select(Answer)).all() == []


@pytest.mark.parametrize(("share", "twice"), [(0.25, [1, 5]), (0.5, [1, 3, 5, 7]), (0, []), (1, list(range(8)))])
def test_the_project_says_how_many_answers_come_twice(
    session: Session, project: Project, access: Access, chat: Chat, share: float, twice: list[int]
) -> None:
    project.serving = {"answer_twice": share}
    conversations.consent(session, access, agree=True)
    found = []
    for given in range(8):
        chat.messages = [*ANSWERED * given, {"role": "user", "content": "Next"}]
        if conversations.asks_twice(session, access, chat):
            found.append(given)
    assert found == twice
