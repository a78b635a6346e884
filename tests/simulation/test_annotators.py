"""Simulated annotators decide by their rule, slip as often as asked, and are refused under a person's name."""

import random

from app.simulation.annotators import Shown, decide
from app.simulation.gold import RULES

WARM = RULES["warm"]
COLD, KIND = Shown("1", "The engine has four cylinders."), Shown("2", "Thank you, my dear friend!")


def test_without_slips_the_better_response_is_preferred_on_either_side() -> None:
    chance = random.Random(1)
    for shown in ((COLD, KIND), (KIND, COLD)):
        decision = decide(WARM, shown, 0.0, chance)
        assert (decision.preferred, decision.strength, decision.slip) == ("2", 3, False)
    assert decide(WARM, (COLD, KIND), 0.0, chance).difference == -3


def test_equal_responses_are_a_tie_and_never_a_slip() -> None:
    decision = decide(WARM, (COLD, Shown("3", "Rain is water.")), 1.0, random.Random(1))
    assert (decision.preferred, decision.strength, decision.slip) == (None, None, False)


def test_slips_are_as_frequent_as_asked_and_come_back_with_the_seed() -> None:
    def slips(seed: int) -> list[bool]:
        chance = random.Random(seed)
        return [decide(WARM, (COLD, KIND), 0.1, chance).slip for _ in range(4000)]

    # Four standard deviations of a share of 0.1 in 4,000 are 0.019.
    assert abs(sum(slips(1)) / 4000 - 0.1) < 0.019
    assert slips(1) == slips(1) != slips(2)
    slipped = decide(WARM, (COLD, KIND), 1.0, random.Random(1))
    assert (slipped.preferred, slipped.slip) == ("1", True)
