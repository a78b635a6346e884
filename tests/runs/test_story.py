"""How it learns: the page works in every state of a project and tells nothing that somebody is still to judge."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.models import Project, Response, Run, User
from app.runs import story
from tests.pairs import make_answer, make_checkpoint, make_comparison, make_prompt
from tests.people import bearer, make_person

PAGE = "/projects/garden/how-it-learns"


@pytest.fixture
def alice(session: Session) -> User:
    return make_person(session, "alice", "annotator")


def text(client: TestClient, headers: dict[str, str], address: str = PAGE) -> str:
    answer = client.get(address, headers=headers)
    assert answer.status_code == 200
    return answer.text


def test_it_tells_the_story_as_far_as_the_project_has_come(
    client: TestClient, session: Session, project: Project, alice: User
) -> None:
    headers = bearer(session, alice)
    empty = text(client, headers)
    assert "Nobody has chosen yet" in empty
    assert "It has not been trained here yet." in empty
    assert "This has not happened here yet." in empty

    prompt = make_prompt(session, project, "What is a <hedge>?")
    make_answer(session, make_comparison(session, prompt, status="complete"), alice)
    chosen = text(client, headers)
    assert "What is a &lt;hedge&gt;?" in chosen
    assert chosen.index("A row of bushes.") < chosen.index("I cannot say."), "the chosen one comes first"
    assert "So far one such choice was made here." in chosen

    reward = make_checkpoint(session, project, "reward", "promoted")
    reward.metrics = {"accuracy": 0.71}
    session.flush()
    scored = text(client, headers)
    assert "it foretold 71 % rightly" in scored
    assert f'hx-get="{PAGE}/scores"' in scored

    samples = [{"prompt": "And a fence?", "before": "same", "after": "same"}]
    samples += [{"prompt": "And a ditch?", "before": "A row of bushes.", "after": "A row of water."}]
    figures = {"episodes": 256.0, "reward_start": 0.0, "reward_best": 1.25, "kl": 3.9}
    session.add(
        Run(project_id=project.id, kind="ppo", status="succeeded", result={"metrics": figures}, samples=samples)
    )
    session.flush()
    trained = text(client, headers)
    for said in ("256", "+1.25", "3.9", "And a ditch?", "A row of <mark>water</mark>."):
        assert said in trained, said
    assert "And a fence?" not in trained, "an answer that changed says more"


def test_the_policy_s_own_answer_to_the_same_question_comes_before_any_other(
    session: Session, project: Project, alice: User
) -> None:
    prompt, newer = make_prompt(session, project, "One?"), make_prompt(session, project, "Two?")
    for each in (prompt, newer):
        make_answer(session, make_comparison(session, each, status="complete"), alice)
    told = story.of(session, project)
    assert told.choice is not None
    assert told.choice.question == "Two?", "the newest, as long as no policy answered any of them again"
    policy = make_checkpoint(session, project, "policy", "promoted")
    session.add(Response(prompt_id=prompt.id, text="A wall of leaves.", source="sample", checkpoint_id=policy.id))
    session.flush()
    told = story.of(session, project)
    assert told.choice is not None
    assert told.choice.question == "One?"
    assert told.answer == story.NewAnswer("One?", "A row of bushes.", "A wall of leaves.", same=True)


def test_the_update_is_the_one_that_made_the_policy_in_use(session: Session, project: Project) -> None:
    policy = make_checkpoint(session, project, "policy", "promoted")
    made_by = session.get_one(Run, policy.run_id)
    later = Run(project_id=project.id, kind="ppo", status="succeeded")  # its gate said no
    session.add(later)
    session.flush()
    made_by.kind = "ppo"
    assert story.of(session, project).update is made_by
    made_by.kind = "dpo"
    assert story.of(session, project).update is later


def test_a_pair_that_somebody_may_still_be_asked_about_is_not_shown(
    session: Session, project: Project, alice: User
) -> None:
    for purpose, status in (("train", "waiting"), ("holdout", "complete"), ("gold", "complete")):
        pair = make_comparison(session, make_prompt(session, project, purpose), purpose=purpose, status=status)
        make_answer(session, pair, alice)
    assert story.of(session, project).choice is None


def test_the_scores_are_the_engine_s_and_without_one_it_says_so(
    client: TestClient, session: Session, project: Project, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.settings import settings

    monkeypatch.setattr(settings, "engine_url", "http://127.0.0.1:9")
    make_answer(session, make_comparison(session, make_prompt(session, project), status="complete"), alice)
    make_checkpoint(session, project, "reward", "promoted")
    assert "cannot be asked for now" in text(client, bearer(session, alice), f"{PAGE}/scores")


def test_who_has_no_part_in_a_project_reads_no_texts_of_it(
    client: TestClient, session: Session, project: Project, alice: User
) -> None:
    make_answer(session, make_comparison(session, make_prompt(session, project), status="complete"), alice)
    guest = text(client, bearer(session, make_person(session, "mallory")))
    assert "What is a hedge?" not in guest
    assert "A row of bushes." not in guest


def test_new_people_find_it(client: TestClient, session: Session, project: Project, alice: User) -> None:
    headers = bearer(session, alice)
    assert f'href="{PAGE}"' in text(client, headers, "/projects/garden")
    assert f'href="{PAGE}"' in text(client, headers, "/projects/garden/label"), "where nothing waits to be labelled"
