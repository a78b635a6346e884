"""What the engine refuses becomes our own error, and only what is wrong gets into the log."""

import logging

import pytest

from app import engine
from app.errors import BadInput, Unavailable


def test_a_model_that_is_still_being_loaded_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert isinstance(engine.refused(503, "loading", "text/plain"), Unavailable)
    assert not caplog.records
    assert isinstance(engine.refused(500, "broken", "text/plain"), Unavailable)
    assert [record.message for record in caplog.records] == ["The engine answered 500: broken"]


def test_the_engines_own_sentence_is_kept() -> None:
    refusal = engine.refused(400, '{"error": {"message": "Too long.", "code": "length"}}', "application/json")
    assert isinstance(refusal, BadInput)
    assert (str(refusal), refusal.extra["code"]) == ("Too long.", "length")
