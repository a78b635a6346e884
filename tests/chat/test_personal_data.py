"""The filter for personal data: what it must stop, and what it must let through to be of use."""

import pytest

from app.chat.personal_data import found_in

STOPPED = [
    ("e-mail", "Write to jane.doe+list@mail.example.org please"),
    ("e-mail", "jane (at) example.org is mine"),
    ("phone", "Call me at +49 170 1234567"),
    ("phone", "My number is 010-1234-5678."),
    ("phone", "(020) 7946 0958 in London"),
    ("phone", "555-867-5309"),
    ("card", "4111 1111 1111 1111 expires soon"),
    ("card", "pay with 4111111111111111"),
    ("iban", "Send it to DE89 3704 0044 0532 0130 00 today"),
    ("iban", "GB82WEST12345698765432"),
    ("number", "900101-1234567"),
    ("number", "My SSN is 078-05-1120"),
    ("address", "The server is 192.168.13.7"),
    ("secret", "use sk-abcdefghijklmnopqrstuv to sign in"),
    ("secret", "-----BEGIN RSA PRIVATE KEY-----"),
]
LET_THROUGH = [
    "When do I sow beans?",
    "What happened in 1989, and what in 2011?",
    "Add 12 and 30, then divide by 7.",
    "Between 2026-01-31 and 31.12.2026",
    "It costs 1,234.50 dollars or 99 cents.",
    "Write a poem @ midnight",
    "Version 3.11 of Python, section 4.2",
    "정원에 무엇을 심을까요?",
    "def f(x): return x[0] + 10",
]


@pytest.mark.parametrize(("kind", "text"), STOPPED)
def test_it_stops(kind: str, text: str) -> None:
    assert found_in(["Nothing here.", text]) == kind


@pytest.mark.parametrize("text", LET_THROUGH)
def test_it_lets_through(text: str) -> None:
    assert found_in([text]) is None


def test_check_digits_decide() -> None:
    assert found_in(["4111 1111 1111 1112"]) != "card"
    assert found_in(["DE88 3704 0044 0532 0130 00"]) != "iban"


def test_it_knows_no_names_and_says_so_in_the_docs() -> None:
    assert found_in(["My name is Jane Doe and I live in Hill Street 4, born in May."]) is None
