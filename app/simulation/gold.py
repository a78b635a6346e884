"""Hidden rules: what a simulated annotator likes, as a pure function from an answer's text to a number.

A rule is never shown to the model; it is known only through answers. Whoever measures the result may apply it to the
model's texts, which is what makes it a gold standard.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

LENGTH_WANTED = 40
WARM_AT_MOST = 4
_WARM = """
    adore adorable amazing appreciate awesome beautiful beauty beloved best blessing bliss bright calm care caring
    celebrate charming cheer cheerful cherish comfort comfortable comforting congratulations cosy cozy dear delicious
    delight delightful dream enjoy enjoyable enjoyed excellent excited exciting fantastic favorite favourite friend
    friendly friends friendship fun gentle gentleness gift glad glow golden good grateful gratitude great happiness
    happy harmony heart heartfelt heartwarming help helpful helping hope hopeful hug hugs inspire inspired inspiring
    inviting joy joyful kind kindness laugh laughing laughter lively love loved lovely loving lucky magical marvellous
    marvelous memories nice nurture peace peaceful perfect please pleasant pleased pleasure precious proud relax
    relaxed relaxing safe share shared sharing shine shining smile smiles smiling soft soothing special sunshine
    support supportive sweet tender thank thankful thanks together treasure warm warmth welcome welcoming wish wishes
    wonder wonderful
"""
WARM_WORDS = frozenset(_WARM.split())


def words(text: str) -> int:
    """Return how many words a text has, counted by blanks."""
    return len(text.split())


def length(text: str) -> float:
    """Nearness to 40 words: 0 at 40, one less for each word too many or too few. Easy to overshoot."""
    return -float(abs(words(text) - LENGTH_WANTED))


def warm(text: str) -> float:
    """Different warm words in the text, at most 4, so that repeating one of them gains nothing."""
    found = WARM_WORDS.intersection(re.findall(r"[a-z]+", text.lower()))
    return float(min(len(found), WARM_AT_MOST))


def warm_and_measured(text: str) -> float:
    """One point for each warm word, one point less for every 10 words away from 40: both must be held at once."""
    return warm(text) + length(text) / 10


@dataclass(frozen=True)
class Rule:
    """A hidden rule with the differences from which one answer counts as better, and as much better."""

    name: str
    score: Callable[[str], float]
    better: float
    much_better: float
    sentence: str

    def strength(self, difference: float) -> int:
        """Return 1 (slightly), 2 (better) or 3 (much better) for a difference of two scores."""
        return 1 + (abs(difference) >= self.better) + (abs(difference) >= self.much_better)

    def win(self, candidate: str, opponent: str) -> float:
        """Return 1 if the candidate's text scores higher than the opponent's, 0 if lower, one half if the same."""
        ours, theirs = self.score(candidate), self.score(opponent)
        return 1.0 if ours > theirs else 0.0 if ours < theirs else 0.5

    def win_rates(
        self, candidate: Mapping[str, Sequence[str]], opponent: Mapping[str, Sequence[str]]
    ) -> dict[str, float]:
        """Return each prompt's win rate: the mean of `win` over every pairing of the two sides' answers to it.

        Both mappings go from prompt to answers. A win rate over prompts is the mean of these values; a prompt's
        answers are not independent of each other, so an interval must treat the prompt as the unit.
        """
        return {
            prompt: fmean(self.win(ours, theirs) for ours in answers for theirs in opponent[prompt])
            for prompt, answers in candidate.items()
        }


RULES = {
    rule.name: rule
    for rule in (
        Rule("length", length, 5, 15, "The answer nearer to 40 words is better."),
        Rule("warm", warm, 2, 3, "The answer with more different warm words (4 at most) is better."),
        Rule(
            "warm-and-measured",
            warm_and_measured,
            1,
            2.5,
            "Each warm word (4 at most) is worth one point; every 10 words away from 40 cost one.",
        ),
    )
}


def ceiling(flips: Sequence[float]) -> float:
    """Return the highest accuracy any predictor can expect on decisive answers; `flips` has each answer's flip rate.

    An answer names the better response with probability 1 - flip rate, so whoever knows the rule exactly is right
    max(1 - flip rate, flip rate) of the time. Equal responses get a tie, which is not decisive and does not count.
    Raises ValueError when there is no answer.
    """
    if not flips:
        raise ValueError("Without a decisive answer there is no accuracy to bound.")
    return fmean(max(rate, 1 - rate) for rate in flips)
