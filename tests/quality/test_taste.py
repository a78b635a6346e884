"""The taste fit by its own equation, and by a rule that is known; features by texts that show them."""

import numpy as np
import pytest

from app.quality import taste
from app.quality.features import FEATURES, read


def test_one_feature_fulfils_its_equation() -> None:
    # Eight of ten preferred the one with more: 8 sigma(-w) - 2 sigma(w) = RIDGE w, at the minimum of the loss.
    (weight,) = taste.fit(np.array([[3.0]] * 8 + [[-3.0]] * 2))
    sigma = 1 / (1 + np.exp(-weight.weight))
    assert 8 * (1 - sigma) - 2 * sigma == pytest.approx(taste.RIDGE * weight.weight, abs=1e-6)
    # One over the root of ten times sigma (1 - sigma), and the ridge; 1.96 of them on either side.
    error = (10 * sigma * (1 - sigma) + taste.RIDGE) ** -0.5
    assert weight.high - weight.weight == pytest.approx(1.959964 * error, rel=1e-5)
    assert weight.weight - weight.low == pytest.approx(1.959964 * error, rel=1e-5)
    assert taste.chance(weight.weight) == pytest.approx(sigma)


def test_with_more_features_each_interval_is_wider() -> None:
    generator = np.random.default_rng(0)
    one = generator.normal(size=(100, 1))
    # Twenty features that are the same one after the other only in number: 0.05 / 40 of either tail, z = 3.02.
    many = np.hstack([one, generator.normal(size=(100, 19))])
    alone, together = taste.fit(one)[0], taste.fit(many)[0]
    assert (together.high - together.low) / (alone.high - alone.low) > 3.02 / 1.96 * 0.95


def test_a_known_rule_is_found_and_nothing_else() -> None:
    generator = np.random.default_rng(3)
    drawn = generator.normal(size=(400, 6)) * [1, 10, 0.1, 1, 1, 1]
    score = 1.5 * drawn[:, 0] - 0.1 * drawn[:, 1]
    first = generator.random(400) < 1 / (1 + np.exp(-score))
    weights = taste.fit(np.where(first[:, None], drawn, -drawn))
    assert [one.clear for one in weights] == [True, True, False, False, False, False]
    assert weights[0].weight > 0 > weights[1].weight


def test_who_does_not_care_has_no_taste() -> None:
    clear = 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        differences = generator.normal(size=(200, 20))
        clear += any(one.clear for one in taste.fit(differences))
    # One in twenty is expected; six would be a wonder (less than once in a thousand).
    assert clear < 6


def test_a_feature_that_never_differs_has_no_weight() -> None:
    weights = taste.fit(np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert weights[0] is not None
    assert weights[1] is None
    assert taste.fit(np.zeros((0, 2))) == [None, None]


def test_perfect_separation_ends_and_stays_finite() -> None:
    (weight,) = taste.fit(np.full((5000, 1), 2.0))
    assert np.isfinite(weight.weight)
    assert weight.clear


def value(name: str, text: str) -> float:
    return read(text)[[feature.name for feature in FEATURES].index(name)]


@pytest.mark.parametrize(
    ("name", "less", "more"),
    [
        ("Length", "Two words.", "These are four words."),
        ("Words per sentence", "One. Two. Three.", "One two three."),
        ("Letters per word", "So it is.", "Extraordinary circumstances."),
        ("Paragraphs", "One.\nStill one.", "One.\n\nTwo."),
        ("List", "A minus - here.", "Pick:\n- one\n- two"),
        ("List", "In 1999. Yes.", "Steps:\n1. one\n2) two"),
        ("Heading", "No # here.", "## Title\nText"),
        ("Bold text", "2 * 3 * 4", "It is **bold**."),
        ("Code", "Plain.", "Call `run()`."),
        ("Digits", "None.", "In 1999."),
        ("Examples", "An exemplary one.", "Trees, for example oaks."),
        ("Ends with a question", "Why? Because.", "Because. Why? "),
        ("Comes to its end", "It breaks off in the", "It ends."),
        ("Exclamation marks", "Fine!", "Fine! Good!"),
        ("Hedges", "It is so.", "It might be so."),
        ("Warmth", "No.", "Thank you, gladly welcome."),
        ("First person", "It is Iron.", "I\N{RIGHT SINGLE QUOTATION MARK}m iron."),
        ("Second person", "Youth is short.", "You are young."),
        ("Apology", "A sorrow.", "Sorry, no."),
        ("Refusal", "I cannot swim.", "I can\N{RIGHT SINGLE QUOTATION MARK}t help with that."),
        ("Repetition", "one two three four five", "one two three one two three"),
    ],
)
def test_a_feature_reads_what_it_says(name: str, less: str, more: str) -> None:
    assert value(name, more) > value(name, less)


def test_every_feature_reads_any_text() -> None:
    assert len({feature.name for feature in FEATURES}) == len(FEATURES) == 20
    for text in (
        "",
        " ",
        "\n",
        "日本語。",
        "...",
        "🙂",
        "a" * 10_000,
        "?" * 3_000 + " ",
        "- " * 3_000,
        "\n" * 20_000 + "x",
    ):
        assert np.isfinite(read(text)).all()
