"""The live head: not taught by what it is tested on, the same whichever way it was reached, honest with few answers."""

import numpy as np
import pytest

from workers.live_head.fit import HEADS, Answers, Basis, LiveFit, figures, fit, make_basis

FEATURES = 30


def scene(count: int, seed: int = 0, features: int = FEATURES, prompts: int = 12) -> tuple[np.ndarray, Answers]:
    """`count` pairs of responses with random features, and answers that follow a linear score, one in ten reversed."""
    generator = np.random.default_rng(seed)
    table = generator.normal(size=(2 * count, features)) * np.linspace(3, 0.3, features)
    score = table @ generator.normal(size=features)
    first, second = np.arange(0, 2 * count, 2), np.arange(1, 2 * count, 2)
    delta = (score[first] - score[second]) / score.std()
    sign = np.where(np.abs(delta) < 0.1, 0, np.sign(delta) * np.where(generator.random(count) < 0.1, -1, 1))
    strength = np.where(sign == 0, 0, np.clip(np.ceil(np.abs(delta)), 1, 3))
    prompt = np.arange(count) % prompts
    longer = generator.integers(-20, 20, count).astype(float)
    heldout, repeat = prompt % 6 == 5, np.zeros(count, dtype=bool)
    return table, Answers(first, second, sign.astype(int), strength.astype(int), prompt, heldout, longer, repeat)


def whole(table: np.ndarray, answers: Answers) -> tuple[Basis, LiveFit]:
    basis = make_basis(table, answers)
    return basis, fit(basis, basis.coordinates(table), answers)


def changed(answers: Answers, rows: np.ndarray) -> Answers:
    """The same answers with those in `rows` the other way round."""
    return answers._replace(sign=np.where(rows, -answers.sign, answers.sign))


def test_it_finds_what_people_prefer() -> None:
    table, answers = scene(400)
    _, found = whole(table, answers)
    assert found.metrics["accuracy"] > 0.8
    assert found.metrics["accuracy_low"] < found.metrics["accuracy"] < found.metrics["accuracy_high"]


def test_answers_that_say_nothing_are_told_no_better_than_a_coin() -> None:
    """With 150 answers and as many directions, the head fits every answer it has seen: only unseen ones count."""
    table, answers = scene(150, features=400)
    coin = np.where(np.random.default_rng(3).random(150) < 0.5, 1, -1)
    _, found = whole(table, answers._replace(sign=coin, strength=np.ones(150, dtype=int)))
    # 150 fair coins: 0.5 with a standard deviation of 0.041.
    assert 0.36 < found.metrics["accuracy"] < 0.64
    assert found.metrics["accuracy_low"] < 0.5


def test_held_out_prompts_never_teach() -> None:
    table, answers = scene(120)
    basis, found = whole(table, answers)
    turned = changed(answers, answers.holdout)
    other = make_basis(table, turned)
    assert other.ridge == basis.ridge
    again = fit(other, other.coordinates(table), turned)
    assert again.theta == pytest.approx(found.theta)
    assert again.ensemble == pytest.approx(found.ensemble)
    assert again.metrics["accuracy"] != found.metrics["accuracy"]
    assert not answers.holdout[found.rows].any()
    assert len(found.rows) == (~answers.holdout).sum()


def test_a_prompt_s_answers_are_predicted_by_a_head_that_saw_none_of_them() -> None:
    """Turning all answers about one prompt round changes every head but those that did not see it."""
    table, answers = scene(120)
    # Neither ties nor strengths, so that there are no thresholds for the heads to share.
    answers = answers._replace(sign=np.where(answers.sign == 0, 1, answers.sign), strength=np.ones(120, dtype=int))
    basis = make_basis(table, answers)
    coordinates = basis.coordinates(table)
    one = answers.prompt == 0
    before, after = (fit(basis, coordinates, said) for said in (answers, changed(answers, one)))
    difference = coordinates[answers.first[one]] - coordinates[answers.second[one]]
    # Prompt 0 comes first, so it is in the first fold.
    assert difference @ after.heads[:, 0] == pytest.approx(difference @ before.heads[:, 0], rel=1e-2, abs=1e-3)
    assert np.abs(after.heads[:, 1] - before.heads[:, 1]).max() > 1e-2


def test_the_figures_by_hand() -> None:
    answers = Answers(
        first=np.zeros(4, dtype=int),
        second=np.ones(4, dtype=int),
        sign=np.array([1, 1, -1, 0]),
        strength=np.array([1, 1, 1, 0]),
        prompt=np.arange(4),
        holdout=np.zeros(4, dtype=bool),
        longer=np.array([5.0, 5.0, -5.0, 5.0]),
        repeat=np.zeros(4, dtype=bool),
    )
    found = figures(np.array([0.5, -0.1, -2.0, 9.0]), answers)
    # Right, wrong, right; the tie is not counted. Each time the longer one was preferred.
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["length_baseline"] == 1.0
    # Wilson's interval of 2 in 3: centre (2/3 + 1.92/3) / (1 + 3.84/3) = 0.573, half width 0.365.
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx((0.208, 0.939), abs=1e-3)


def test_a_pair_that_is_asked_again_because_it_surprised_teaches_and_is_not_measured() -> None:
    table, answers = scene(120)
    asked_again = answers._replace(repeat=np.arange(120) < 60)
    (_, all_measured), (_, half_measured) = whole(table, answers), whole(table, asked_again)
    assert half_measured.theta == pytest.approx(all_measured.theta)
    # 60 answers say less than 120: the interval is wider.
    wide, narrow = (one.metrics["accuracy_high"] - one.metrics["accuracy_low"] for one in (half_measured, all_measured))
    assert wide > 1.2 * narrow


def test_an_earlier_fit_saves_time_and_changes_nothing() -> None:
    table, answers = scene(300)
    basis = make_basis(table, answers)
    coordinates = basis.coordinates(table)
    earlier = fit(basis, coordinates, Answers._make(column[:-1] for column in answers))
    warm, cold = fit(basis, coordinates, answers, earlier), fit(basis, coordinates, answers)
    scale = np.abs(cold.theta).max()
    assert warm.theta == pytest.approx(cold.theta, abs=1e-3 * scale)
    assert warm.heads == pytest.approx(cold.heads, abs=1e-2 * scale)
    assert warm.metrics == pytest.approx(cold.metrics, abs=0.01)


def test_an_ensemble_is_surer_with_more_answers_and_keeps_its_dice() -> None:
    spread = []
    for count in (60, 600):
        table, answers = scene(count)
        basis, found = whole(table, answers)
        assert found.ensemble.shape == (basis.axes.shape[1], HEADS)
        scores = basis.coordinates(scene(200, seed=9)[0]) @ np.column_stack([found.ensemble, found.theta])
        spread.append(scores[:, :-1].std(1).mean() / scores[:, -1].std())
    assert spread[1] < spread[0] / 1.5
    again = whole(table, answers)[1]
    assert (again.ensemble == found.ensemble).all()


def test_answers_about_one_prompt_predict_nothing() -> None:
    table, answers = scene(40, prompts=1)
    with pytest.raises(ValueError, match="one prompt"):
        make_basis(table, answers)


def test_more_pairs_than_axes_keep_the_axes_that_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of a language model go together: here thirty of them say what ten do, and a little more."""
    table, answers = scene(300, features=10)
    generator = np.random.default_rng(4)
    table = table @ generator.normal(size=(10, 30)) + 0.1 * generator.normal(size=(600, 30))
    exact = whole(table, answers)[1].metrics["accuracy"]
    monkeypatch.setattr("workers.live_head.fit.MOST_AXES", 12)
    basis, found = whole(table, answers)
    assert basis.axes.shape == (30, 12)
    assert found.metrics["accuracy"] == pytest.approx(exact, abs=0.02)
