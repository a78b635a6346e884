"""The figures about a reward model, each against numbers that can be checked by hand."""

import math

import numpy as np
import pytest

from workers.reward import report

ONES = np.ones(4)


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe (1998), table I, method 3: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611.
    assert report.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert report.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert report.wilson(0, 0) == (0.0, 1.0)


def test_answers_to_one_prompt_count_as_many_as_they_differ() -> None:
    # Answers that win or lose together: 4 prompts are 4 trials, whatever was answered to each.
    together = report.wilson_clustered(np.array([1.0, 1.0, 1.0, 0.0]), 10)
    assert together == pytest.approx(report.wilson(3, 4))
    # Prompts that all have the same rate: every answer is a trial of its own.
    apart = report.wilson_clustered(np.full(4, 0.75), 10)
    assert apart == pytest.approx(report.wilson(30, 40))
    # Between the two: rates 0.5 and 1 have mean 0.75 and variance of the mean 0.0625, as 0.1875 / 0.0625 = 3 trials.
    assert report.wilson_clustered(np.array([0.5, 1.0]), 10) == pytest.approx(report.wilson(2.25, 3))
    assert report.wilson_clustered(np.array([0.7]), 2) == pytest.approx(report.wilson(1.4, 2))


def test_accuracy_counts_equal_scores_half() -> None:
    found = report.accuracy(np.array([1.0, -1.0, 0.0, 2.0]), np.array([1.0, 1.0, 1.0, 0.0]), ONES)
    assert found == pytest.approx((1 + 0 + 0.5 + 0) / 4)


def test_weights_count_as_so_many_answers() -> None:
    found = report.accuracy(np.array([1.0, -1.0]), np.array([1.0, 1.0]), np.array([3.0, 1.0]))
    assert found == pytest.approx(3 / 4)


def test_log_loss_and_brier_by_hand() -> None:
    probability, preferred = np.array([0.8, 0.8]), np.array([1.0, 0.0])
    assert report.log_loss(probability, preferred, ONES[:2]) == pytest.approx(-(math.log(0.8) + math.log(0.2)) / 2)
    assert report.brier(probability, preferred, ONES[:2]) == pytest.approx((0.04 + 0.64) / 2)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    # 0.9 on a (right) and 0.1 on a (so 0.9 on b, wrong) share a bin: |0.9 - 1/2| = 0.4.
    found = report.calibration_error(np.array([0.9, 0.1]), np.array([1.0, 1.0]), ONES[:2])
    assert found == pytest.approx(0.4)
    # Two bins that err in opposite directions: |0.9 - 0| and |0.6 - 1|, each for one of two answers.
    found = report.calibration_error(np.array([0.9, 0.6]), np.array([0.0, 1.0]), ONES[:2])
    assert found == pytest.approx((0.9 + 0.4) / 2)
    assert report.calibration_error(np.array([1.0, 0.0]), np.array([1.0, 0.0]), ONES[:2]) == pytest.approx(0.0)


def test_the_calibration_curve_weighs_what_was_stated_and_what_was_right() -> None:
    probability, preferred = np.array([0.9, 0.1, 0.95, 0.6]), np.array([1.0, 1.0, 1.0, 0.0])
    low, high = report.calibration_curve(probability, preferred, np.array([1.0, 1.0, 2.0, 1.0]), bins=2)
    # Below 0.75: one answer of 0.6, wrong.
    assert (low["confidence"], low["right"], low["answers"]) == pytest.approx((0.6, 0.0, 1.0))
    # From 0.75 on: 0.9 right, 0.9 wrong, 0.95 right and worth two: (0.9 + 0.9 + 1.9) / 4 stated, 3 of 4 right.
    assert (high["confidence"], high["right"], high["answers"]) == pytest.approx((0.925, 0.75, 4.0))
    assert (high["low"], high["high"]) == pytest.approx(report.wilson(3, 4))


def test_the_length_rule_may_go_either_way() -> None:
    longer, preferred = np.array([3.0, 2.0, -1.0, 5.0]), np.array([0.0, 0.0, 1.0, 1.0])
    assert report.length_baseline(longer, preferred, ONES) == pytest.approx(0.75)
    assert report.length_baseline(longer, 1 - preferred, ONES) == pytest.approx(0.75)


def test_spearman_gives_ties_their_mean_rank() -> None:
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, norms sqrt(4.5) and sqrt(5).
    found = report.spearman(np.array([1.0, 2.0, 2.0, 9.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert found == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert report.spearman(np.ones(3), np.arange(3.0)) == 0.0


def test_agreement_counts_every_two_people_on_one_pair() -> None:
    # Pair 7: a, a, b gives one agreeing two of three; pair 8: b, b one of one; pair 9 has nobody to agree with.
    found = report.agreement([(7, True), (7, True), (7, False), (8, False), (8, False), (9, True)])
    assert found == (2 / 4, 4)
    assert report.agreement([(1, True), (2, False)]) is None


def test_the_ceiling_follows_from_agreement() -> None:
    # People who are right 9 times of 10 agree with 0.81 + 0.01 = 0.82.
    assert report.ceiling(0.82) == pytest.approx(0.9)
    assert report.ceiling(0.4) == 0.5


def test_the_gate_asks_for_more_labels_while_chance_is_included() -> None:
    passed, why = report.gate(37, 60, 0.55)
    assert not passed
    assert why == (
        "The reward model's interval still includes chance: 62% [49%, 73%] over 60 answers. "
        "Label about 20 more, or force the run."
    )
    assert "check that the guidelines" in report.gate(30, 60, 0.5)[1]


def test_the_number_of_answers_asked_for_is_enough() -> None:
    needed = report.answers_needed(0.6)
    assert needed is not None
    assert report.wilson(0.6 * needed, needed)[0] > 0.5 >= report.wilson(0.6 * (needed - 1), needed - 1)[0]


def test_the_gate_wants_more_than_a_rule_about_length() -> None:
    passed, why = report.gate(70, 100, 0.8)
    assert not passed
    assert "only looks at length (80%)" in why
    assert report.gate(70, 100, 0.7)[0]


def test_ppo_does_not_go_on_from_a_policy_whose_answers_the_model_cannot_tell_apart() -> None:
    # Wilson's interval of 29 in 50 is [0.442, 0.706], that of 35 is [0.562, 0.809].
    stuck = {"latest_accuracy": 0.58, "latest_low": 0.442, "latest_high": 0.706, "latest_answers": 50.0}
    why = report.reached(stuck)
    assert why is not None
    assert "58% [44%, 71%] over 50 answers" in why
    assert report.reached({**stuck, "latest_low": 0.562}) is None
    assert report.reached({**stuck, "latest_answers": 49.0}) is None, "too few to say anything"
    assert report.reached({}) is None, "the base model's answers alone"


def test_accuracy_by_strength_counts_each_level() -> None:
    found = report.by_strength([1.0, 0.0, 1.0, 1.0], [1, 1, 3, None])
    assert found == {
        "accuracy_strength_1": 0.5,
        "accuracy_strength_3": 1.0,
        "n_strength_1": 2.0,
        "n_strength_3": 1.0,
    }


def test_one_temperature_calibrates_what_was_too_sure() -> None:
    # 0.9 was right three times in four: sigmoid(ln 9 / T) = 3/4 needs ln 9 / T = ln 3, so T = 2.
    probability, preferred = np.full(4, 0.9), np.array([1.0, 1.0, 1.0, 0.0])
    assert report.temperature(probability, preferred, ONES) == pytest.approx(2.0, rel=1e-9)
    assert report.tempered(probability, 2.0).tolist() == pytest.approx([0.75] * 4)
    assert report.calibration_error(report.tempered(probability, 2.0), preferred, ONES) == pytest.approx(0.0, abs=1e-9)
    # The same where it was not sure enough, and of the opposite: 0.25 on a, right on b in 9 of 10.
    unsure, weight = np.array([0.25, 0.25]), np.array([9.0, 1.0])
    assert report.temperature(unsure, np.array([0.0, 1.0]), weight) == pytest.approx(0.5, rel=1e-9)


def test_a_temperature_stays_finite() -> None:
    assert report.temperature(np.array([0.9]), np.array([1.0]), ONES[:1]) == pytest.approx(1 / 20)
    assert report.temperature(np.array([0.9]), np.array([0.0]), ONES[:1]) == pytest.approx(20)
    assert report.tempered(np.array([0.0, 0.5, 1.0]), 1.0).tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-9)


def test_accuracy_by_thirds_of_the_difference_in_length() -> None:
    # Differences 1, 1 / 2, 3 / 5, 9 whichever is longer; right: 1, 0 / 1, 1 / 0, a half.
    found = report.by_length_gap(np.array([1, 0, 1, 1, 0, 0.5]), np.array([1.0, -1.0, 2.0, -3.0, 5.0, -9.0]))
    assert found == {
        "accuracy_gap_small": 0.5,
        "n_gap_small": 2.0,
        "accuracy_gap_middle": 1.0,
        "n_gap_middle": 2.0,
        "accuracy_gap_large": 0.25,
        "n_gap_large": 2.0,
    }
    # Equal differences stay together, so a third may be empty.
    assert report.by_length_gap(np.ones(3), np.full(3, 4.0)) == {"accuracy_gap_small": 1.0, "n_gap_small": 3.0}


def test_people_agree_with_each_other_and_with_themselves() -> None:
    # Pair 0: alice a, bob a. Pair 1: alice a, bob b, alice b: one of three twos agrees, alice's own does not.
    pair, preferred = np.array([0, 0, 1, 1, 1]), np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    people = ["alice", "bob", "alice", "bob", "alice"]
    found = report.agreements(pair, preferred, people, np.zeros(5, bool))
    assert found == {
        "self_agreement": 0.0,
        "self_agreement_twos": 1.0,
        "agreement": 2 / 4,
        "agreement_twos": 4.0,
        "ceiling": 0.5,
    }


def test_pairs_that_were_asked_again_count_by_their_share() -> None:
    # Ten pairs. Pair 0 was asked again, and the answers differ; of pairs 1 and 2, which two people saw, both agree:
    # a tenth of all pairs agree never and nine tenths always, so two answers agree in 0.9, and 1 + sqrt(0.8) is halved.
    pair = np.array([0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9])
    preferred = np.array([1.0, 0.0, *[1.0] * 11])
    again = np.arange(13) == 1
    found = report.agreements(pair, preferred, [None] * 13, again)
    assert found["repeat_agreement"] == 0.0
    assert found["agreement"] == pytest.approx(0.9)
    assert found["agreement_twos"] == 3.0
    assert found["ceiling"] == pytest.approx((1 + math.sqrt(0.8)) / 2)


def test_surprises_alone_say_nothing_about_the_rest() -> None:
    found = report.agreements(np.array([0, 0, 1]), np.ones(3), ["alice"] * 3, np.array([False, True, False]))
    assert found == {
        "self_agreement": 1.0,
        "self_agreement_twos": 1.0,
        "repeat_agreement": 1.0,
        "repeat_agreement_twos": 1.0,
    }


def test_the_least_likely_answers_come_first_and_one_of_each_pair() -> None:
    said, pair = np.array([0.4, 0.1, 0.3, 0.6, 0.2]), np.array([0, 1, 1, 2, 3])
    assert report.surprising(said, pair, 10).tolist() == [1, 4, 0]
    assert report.surprising(said, pair, 2).tolist() == [1, 4]
    assert report.surprising(np.array([0.5]), np.array([0]), 10).tolist() == []
