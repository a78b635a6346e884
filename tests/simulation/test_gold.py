"""The hidden rules of simulated annotators are known to the last digit."""

import pytest

from app.simulation.gold import RULES, ceiling, length, warm, warm_and_measured

FORTY = " ".join(["word"] * 40)


def test_length_is_best_at_forty_words_and_falls_off_on_both_sides() -> None:
    assert length(FORTY) == 0
    assert length(FORTY + " and five words too many") == -5
    assert length("three short words") == -37
    assert length("") == -40


def test_warm_counts_different_warm_words_and_stops_at_four() -> None:
    assert warm("The engine has four cylinders.") == 0
    assert warm("Thank you, my friend!") == 2
    assert warm("happy happy happy HAPPY") == 1, "repeating a word gains nothing"
    assert warm("happy kind lovely warm sunny gentle sweet") == 4
    assert warm("unhappy kindly-not warmth's") == 1, "only whole words count"
    assert warm("") == 0


def test_the_combined_rule_weighs_ten_words_like_one_warm_word() -> None:
    assert warm_and_measured(FORTY) == 0
    assert warm_and_measured(FORTY + " happy " + "x " * 9) == pytest.approx(1 - 1)
    assert warm_and_measured("happy") == pytest.approx(1 - 3.9)


def test_strength_grows_with_the_difference_and_ignores_its_sign() -> None:
    rule = RULES["length"]
    assert [rule.strength(d) for d in (1, 4.9, 5, -14, 15, -40)] == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_win_against_oneself_is_one_half_and_sides_are_fair(name: str) -> None:
    rule, texts = RULES[name], ["", "Thank you, my friend!", FORTY, FORTY + " happy"]
    for one in texts:
        assert rule.win(one, one) == 0.5
        for other in texts:
            assert rule.win(one, other) + rule.win(other, one) == 1


def test_the_win_rate_of_a_prompt_is_the_mean_over_every_pairing() -> None:
    rule = RULES["warm"]
    candidate = {"p": ["happy friend", "nothing"], "q": ["happy"]}
    opponent = {"p": ["kind", "nothing"], "q": ["sweet joy"]}
    # p: happy friend wins twice; nothing loses to kind and ties with nothing: (1 + 1 + 0 + 0.5) / 4.
    assert rule.win_rates(candidate, opponent) == {"p": 2.5 / 4, "q": 0.0}


def test_the_ceiling_is_what_the_noise_leaves() -> None:
    assert ceiling([0.1] * 7) == pytest.approx(0.9)
    assert ceiling([0.0, 0.5]) == pytest.approx(0.75)
    assert ceiling([0.8]) == pytest.approx(0.8), "an annotator who is mostly wrong can be predicted too"
    with pytest.raises(ValueError, match="no accuracy"):
        ceiling([])
