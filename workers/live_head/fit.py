"""The live head of one project: what is fitted after an answer, in milliseconds, and what is chosen now and then.

1. Now and then (`make_basis`): centre and scale of the features, the principal axes of the compared differences, and
the ridge. 2. After every answer (`fit`): the head, its accuracy on prompts it has not seen, an ensemble of heads on
bootstrapped prompts, and what each answer contributes to the curvature, from which its influence follows.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.live_head.newton import Choices, curves, fit_many
from workers.reward import head, report
from workers.reward.data import MOST_LEVELS, folds
from workers.reward.head import RIDGES
from workers.reward.loss import Floats, Integers, Outcomes, cut_points, interval, interval_nll, smooth

Features = NDArray[np.floating[Any]]
HEADS = 8
"""Heads of the ensemble, whose disagreement says how sure the head is."""
MOST_AXES = 512
"""Principal axes that are kept, those along which the compared pairs differ most; fewer pairs keep all of theirs."""
FOLDS = 5
SMOOTHING = 0.05
"""How likely an answer is taken to be a slip for its opposite; as a reward run takes it by default."""


class Answers(NamedTuple):
    """N answers that say something about two responses. `first` and `second` are rows of a table of responses."""

    first: Integers
    second: Integers
    sign: Integers
    """1 where the first was preferred, -1 for the second, 0 for a tie or both bad."""
    strength: Integers
    """1 to 3; 0 where there is none."""
    prompt: Integers
    """Numbers of the prompts in the order in which they came, so that one keeps its place in every bootstrap."""
    holdout: NDArray[np.bool_]
    """Whether the prompt is never trained on."""
    longer: Floats
    """How many characters longer the first response is."""
    repeat: NDArray[np.bool_]
    """Whether the pair was asked again because it had surprised a model: it teaches then, and is not measured on."""

    def choices(self, levels: int) -> Choices:
        """Return the intervals between cut points for so many steps of strength."""
        pairs = zip(self.sign.tolist(), self.strength.tolist(), strict=True)
        low, high = np.array([interval(sign, strength or None, levels) for sign, strength in pairs]).T
        return Choices(low, high)


class Basis(NamedTuple):
    """Coordinates of a response: `((features - centre) / scale) @ axes`, with R of them for F features."""

    centre: Floats
    scale: Floats
    axes: Floats
    ridge: float

    def coordinates(self, features: Features) -> Floats:
        """Return [n, R] for features [n, F]."""
        return np.asarray(((features - self.centre) / self.scale) @ self.axes)


class LiveFit(NamedTuple):
    """The outcome in coordinates: `theta` [R], the heads of the folds and of the ensemble, thresholds and figures.

    `slopes` [T, 1 + K] and `curves` [T, 1 + K, 1 + K] are the derivatives of every taught answer's loss by its
    difference of scores and by the K thresholds that are free, `rows` [T] its place among all answers, and `prior` [K]
    the curvature that the thresholds have without any answer.
    """

    theta: Floats
    heads: Floats
    spacing: Floats
    metrics: dict[str, float]
    rows: Integers
    slopes: Floats
    curves: Floats
    prior: Floats

    @property
    def ensemble(self) -> Floats:
        """The heads on bootstrapped prompts, [R, HEADS]."""
        return self.heads[:, -HEADS:]


def teaching(answers: Answers) -> NDArray[np.bool_]:
    """Say which answers teach [N]: those about prompts that are not held out."""
    return np.asarray(~answers.holdout)


def make_basis(features: Features, answers: Answers) -> Basis:
    """Choose axes and ridge. Raises ValueError if the answers are all about one prompt."""
    few = _subset(answers, np.flatnonzero(teaching(answers)))
    fold = folds(few.prompt, FOLDS)
    centre, scale = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64) + 1e-6
    standard = (features - centre) / scale
    coordinates, axes = head.principal(standard[few.first] - standard[few.second])
    coordinates, axes = coordinates[:, -MOST_AXES:], axes[:, -MOST_AXES:]
    return Basis(centre, scale, axes, _choose_ridge(coordinates, few, fold, features.shape[1]))


def fit(basis: Basis, coordinates: Floats, answers: Answers, before: LiveFit | None = None) -> LiveFit:
    """Fit to responses' `coordinates` [n, R]; an earlier fit with the same basis saves steps. Raises as `make_basis`.

    The heads of the folds and of the ensemble share the thresholds of the whole head.
    """
    taught = np.flatnonzero(teaching(answers))
    few = _subset(answers, taught)
    differences = coordinates[few.first] - coordinates[few.second]
    # 1. The head itself, with its thresholds.
    levels = _levels(few)
    choices, count = few.choices(levels), len(taught)
    outcomes = Outcomes(np.arange(count), choices.low, choices.high, np.ones(count))
    prior = head.start_spacing(outcomes, levels)
    known = before is not None and len(before.spacing) == levels and ((before.spacing > 0) == (prior > 0)).all()
    begin = head.Fit(before.theta, before.spacing) if before is not None and known else None
    whole = head.fit(differences, smooth(outcomes, levels, SMOOTHING), basis.ridge, prior, begin)
    # 2. Heads that did not see a fold of prompts, and heads on prompts drawn with replacement, in one go.
    fold = folds(few.prompt, FOLDS)
    unseen = fold[:, None] == np.unique(fold)
    weight = np.concatenate([~unseen, _bootstrap(few.prompt)], axis=1).astype(np.float64)
    ridge = np.full(weight.shape[1], basis.ridge)
    same = before is not None and before.heads.shape[1] == weight.shape[1]
    begin_all = before.heads if before is not None and same else np.repeat(whole.theta[:, None], len(ridge), axis=1)
    heads = fit_many(differences, choices, whole.spacing, SMOOTHING, weight, ridge, begin_all)
    # 3. What they say of answers they did not see; a held-out prompt was seen by none.
    delta = (coordinates[answers.first] - coordinates[answers.second]) @ whole.theta
    delta[taught] = ((differences @ heads[:, : unseen.shape[1]]) * unseen).sum(1)
    free = prior > 0
    slopes, curve = contributions(differences @ whole.theta, choices, whole.spacing, free)
    return LiveFit(
        whole.theta,
        heads,
        whole.spacing,
        figures(delta, answers),
        taught,
        slopes,
        curve,
        1 / whole.spacing[free] ** 2,
    )


def figures(delta: Floats, answers: Answers) -> dict[str, float]:
    """Return accuracy with its 95 % interval, and what length alone reaches, on answers that prefer one response."""
    decisive = (answers.sign != 0) & ~answers.repeat
    preferred, ones = (answers.sign[decisive] > 0).astype(np.float64), np.ones(int(decisive.sum()))
    share = report.accuracy(delta[decisive], preferred, ones)
    low, high = report.wilson(share * len(ones), len(ones))
    baseline = report.length_baseline(answers.longer[decisive], preferred, ones)
    return {"accuracy": share, "accuracy_low": low, "accuracy_high": high, "length_baseline": baseline}


def contributions(delta: Floats, choices: Choices, spacing: Floats, free: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return each answer's smoothed slopes [N, 1 + K] and curvature [N, 1 + K, 1 + K] by delta and the free spacings.

    A cut point is linear in the spacings, so its derivative by spacing k is the cut point of the k-th unit vector.
    """
    levels = len(spacing)
    cuts, last = cut_points(spacing), 2 * levels + 1
    unit = np.stack([cut_points(one) for one in np.eye(levels)], axis=1)
    by_spacing = np.where(np.isfinite(unit), unit, 0.0)[:, free]
    size = 1 + by_spacing.shape[1]
    slopes, curve = np.zeros((len(delta), size)), np.zeros((len(delta), size, size))
    for share, low, high in (
        (1 - SMOOTHING, choices.low, choices.high),
        (SMOOTHING, last - choices.high, last - choices.low),
    ):
        s = interval_nll(delta, cuts[low], cuts[high])
        # The derivatives of u = high - delta, v = delta - low and w = high - low; see interval_nll.
        one = np.ones((len(delta), 1))
        u = np.concatenate([-one, by_spacing[high]], axis=1)
        v = np.concatenate([one, -by_spacing[low]], axis=1)
        for slope, bend, part in ((s.by_u, s.curve_u, u), (s.by_v, s.curve_v, v), (s.by_w, s.curve_w, u + v)):
            slopes += share * slope[:, None] * part
            curve += share * bend[:, None, None] * part[:, :, None] * part[:, None, :]
    return slopes, curve


def _choose_ridge(differences: Floats, answers: Answers, fold: Integers, features: int) -> float:
    """Return the absolute ridge with the best loss on prompts that its head has not seen."""
    levels, count = _levels(answers), len(answers.sign)
    choices = answers.choices(levels)
    spacing = head.start_spacing(Outcomes(np.arange(count), choices.low, choices.high, np.ones(count)), levels)
    unseen = fold[:, None] == np.unique(fold)
    ridges = np.array(RIDGES) * features
    loss = np.zeros(len(ridges))
    theta = np.zeros((differences.shape[1], unseen.shape[1]))
    for place, ridge in enumerate(ridges):
        same = np.full(unseen.shape[1], ridge)
        theta = fit_many(differences, choices, spacing, SMOOTHING, (~unseen).astype(np.float64), same, theta)
        loss[place] = (curves(differences @ theta, choices, spacing, 0.0).nll * unseen).sum()
    return float(ridges[loss.argmin()])


def _levels(answers: Answers) -> int:
    return int(min(MOST_LEVELS, max(1, answers.strength.max())))


def _bootstrap(prompt: Integers) -> Floats:
    """Return how often each answer's prompt was drawn by each head [N, HEADS].

    Counts are Poisson(1), which is what draws with replacement come to, and a prompt keeps its own for good: a head
    changes because of a new answer, not because of new dice.
    """
    drawn = np.random.default_rng(0).poisson(1.0, (int(prompt.max()) + 1, HEADS))
    return np.asarray(drawn[prompt], dtype=np.float64)


def _subset(answers: Answers, rows: Integers) -> Answers:
    return Answers._make(column[rows] for column in answers)
