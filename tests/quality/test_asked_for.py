"""What guidelines ask for is read from plain words, and set against a taste that goes the other way."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.models import GuidelineVersion, Project, User
from app.quality.asked_for import WORDS, read
from app.quality.features import FEATURES
from tests.labeling.pairs import make_comparison
from tests.people import browse_as
from tests.quality.scene import say

SENTENCES = [
    f"{first}{first} {first}{second}." for first, second in zip("abcdefghijklmnop", "qrstuvwxyzabcdef", strict=True)
]
"""Sentences that differ in nothing but their letters, so that answers of them differ in length alone."""


@pytest.mark.parametrize(
    ("guidelines", "asked"),
    [
        ("Prefer the brief answer.", {"Length": False}),
        ("짧게 답하면 좋습니다.", {"Length": False}),
        ("Detailed answers win.\nEnd warmly.", {"Length": True, "Warmth": True}),
        ("Brief or detailed, as you like.", {}),
        ("Do not be brief. Longer isn't better.", {}),
        ("# Short answers\n> Keep it brief.", {}),
        ("Shorten nothing.", {}),
    ],
)
def test_plain_words_ask_for_more_or_less(guidelines: str, asked: dict[str, bool]) -> None:
    assert read(guidelines) == asked


def test_every_word_belongs_to_a_feature() -> None:
    assert set(WORDS) <= {feature.name for feature in FEATURES}


def test_a_taste_against_the_guidelines_is_pointed_out(
    client: TestClient, session: Session, project: Project, alice: User, bob: User
) -> None:
    for number in range(45):
        long, short = (" ".join(SENTENCES[: each + number % 5]) for each in (12, 2))
        comparison = make_comparison(session, project, f"Question {number}?", long, short)
        say(session, comparison, alice, "a2")
    browser = browse_as(client, session, bob)
    page = f"/projects/garden/quality/annotators/{alice.id}"
    assert "The guidelines ask for" not in browser.get(page).text
    session.add(GuidelineVersion(project_id=project.id, version=2, text="Prefer the shorter answer."))
    session.flush()
    asks = "The guidelines ask for shorter answers, but"
    assert f"{asks} they prefer longer answers." in browser.get(page).text
    assert f"{asks} people here prefer longer answers." in browser.get("/projects/garden/quality/taste").text
    session.add(GuidelineVersion(project_id=project.id, version=3, text="Prefer the longer answer."))
    session.flush()
    assert asks not in browser.get(page).text
