"""Agreement by numbers that were published or can be worked out on paper."""

import numpy as np
import pytest

from app.quality.agreement import agreement
from app.quality.shares import Share

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section C: four observers, twelve units, values
# 1 to 5, some missing. He gives alpha = 0.743 nominal and 0.815 ordinal.
OBSERVERS = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
PUBLISHED = [
    [int(value) - 1 for value in unit if value != "."]
    for unit in zip(*(line.split() for line in OBSERVERS), strict=True)
]


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_alpha_is_that_of_krippendorffs_example(level: str, alpha: float) -> None:
    found = agreement(PUBLISHED, 5, level)
    assert found.alpha == pytest.approx(alpha, abs=5e-4)
    # The twelfth unit has one value only.
    assert found.units == 11


def test_percent_is_the_share_of_equal_pairs() -> None:
    # Three pairs of which one is equal, and one equal pair: two of four.
    assert agreement([[0, 0, 1], [2, 2]], 3, "nominal").percent == 0.5


def test_alpha_of_two_observers_by_hand() -> None:
    # o = [[2, 1], [1, 0]] over n = 4: observed disagreement 2, expected 2 * 3 * 1; 1 - 3 * 2 / 6 = 0.
    assert agreement([[0, 0], [0, 1]], 2, "nominal").alpha == pytest.approx(0)
    # o = [[0, 2], [2, 0]]: 1 - 3 * 4 / (2 * 2 * 2) = -0.5; worse than chance.
    assert agreement([[0, 1], [1, 0]], 2, "nominal").alpha == pytest.approx(-0.5)


def test_a_step_aside_is_less_of_a_disagreement_than_the_other_end() -> None:
    everything = [[value, value] for value in range(7)]
    near = agreement([*everything, [2, 3]], 7, "ordinal").alpha
    far = agreement([*everything, [0, 6]], 7, "ordinal").alpha
    assert near is not None
    assert far is not None
    assert near > far
    nominal = [agreement([*everything, unit], 7, "nominal").alpha for unit in ([2, 3], [0, 6])]
    assert nominal[0] == pytest.approx(nominal[1])


def test_it_is_undefined_without_a_second_answer_and_without_variety() -> None:
    assert agreement([[0], [1]], 2, "nominal") == (0, None, None, None, None)
    assert agreement([[1, 1]] * 5, 2, "nominal") == (5, 1.0, None, None, None)


def test_the_interval_holds_alpha_shrinks_with_more_units_and_is_the_same_every_time() -> None:
    few = agreement(PUBLISHED, 5, "nominal")
    many = agreement(PUBLISHED * 20, 5, "nominal")
    assert few == agreement(PUBLISHED, 5, "nominal")
    for found in (few, many):
        assert found.low < found.alpha < found.high
    assert many.high - many.low < (few.high - few.low) / 3


def test_the_interval_is_that_of_drawing_units_one_by_one() -> None:
    generator = np.random.default_rng(1)
    drawn = []
    for _ in range(400):
        units = [PUBLISHED[index] for index in generator.integers(0, len(PUBLISHED) - 1, size=len(PUBLISHED) - 1)]
        drawn.append(agreement(units, 5, "nominal").alpha)
    low, high = np.quantile([one for one in drawn if one is not None], [0.025, 0.975])
    found = agreement(PUBLISHED[:-1], 5, "nominal")
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06)


def test_a_shares_interval_is_wilsons() -> None:
    # Newcombe (1998, Statistics in Medicine 17, 857-872), table I: 81 of 263, and 0 of 20, by the score method.
    assert Share(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert Share(0, 20).interval == pytest.approx((0, 0.1611), abs=5e-5)
    assert Share(0, 0).interval is None
    assert Share(0, 0).value is None
    assert not Share(0, 0).excludes(0.5)
    assert Share(81, 263).excludes(0.5)
    assert not Share(11, 20).excludes(0.5)
