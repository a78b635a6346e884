"""Filters are read from JSON, refused in a sentence, and written back."""

import pytest

from app.datasets.filters import Filters
from app.errors import BadInput


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ([], "filters must be an object"),
        ({"colour": 1}, "'colour' is not a filter"),
        ({"simulated": "yes"}, "simulated must be true or false"),
        ({"since": 2026}, "since must be a time"),
        ({"until": "tomorrow"}, "until must be a time"),
        ({"purposes": "train"}, "purposes must be a list"),
        ({"sources": ["page", "dream"]}, "sources must be a list"),
        ({"sources": [["page"]]}, "sources must be a list"),
    ],
)
def test_filters_that_make_no_sense_are_refused(chosen: object, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        Filters.from_json(chosen)


def test_filters_survive_their_json() -> None:
    filters = Filters.from_json(
        {"since": "2026-01-31", "until": "2026-02-01T00:00:00+09:00", "purposes": ["holdout", "train"], "sources": None}
    )
    assert filters.to_json() == {
        "simulated": False,
        "since": "2026-01-31T00:00:00+00:00",
        "until": "2026-01-31T15:00:00+00:00",
        "purposes": ["train", "holdout"],
    }
    assert Filters.from_json(filters.to_json()) == filters
