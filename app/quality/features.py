"""What can be read off a text without a model: length, form, tone; the words in which people's taste is told."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from app.languages import N_


@dataclass(frozen=True)
class Feature:
    """A number read off a text, its name in a table, and what those prefer who prefer more or less of it."""

    name: str
    value: Callable[[str], float]
    more: str
    less: str


def _has(pattern: str, flags: re.RegexFlag = re.IGNORECASE) -> Callable[[str], float]:
    """1 where the pattern is found, else 0."""
    search = re.compile(pattern, flags).search
    return lambda text: float(search(text) is not None)


@lru_cache(maxsize=2)
def _words(text: str) -> list[str]:
    """Its words in lower case; remembered, because many features of one text are read off them."""
    return re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text.lower())


def _per_hundred_words(words: str, parts: tuple[str, ...]) -> Callable[[str], float]:
    """How often there is one of these words, or of these parts of (Korean) words, by a hundred words."""
    wanted = frozenset(words.split())

    def value(text: str) -> float:
        found = sum(word in wanted for word in _words(text)) + sum(text.count(part) for part in parts)
        return 100 * found / max(1, len(_words(text)))

    return value


def _says(*phrases: str) -> Callable[[str], float]:
    """1 where there is one of these phrases, in whatever case, else 0."""

    def value(text: str) -> float:
        lower = text.lower()
        return float(any(phrase in lower for phrase in phrases))

    return value


def _log_of(count: Callable[[str], float]) -> Callable[[str], float]:
    """The logarithm of a count and one: from 10 to 20 words is as far as from 100 to 200."""
    return lambda text: math.log1p(count(text))


_ENDS = tuple(".!?。！？…:;)]\"'`*|")
_END_OF_SENTENCE = re.compile(r"[.!?。！？…]+(?=[\s\"')\]*]|$)|\n+")


def _words_per_sentence(text: str) -> float:
    sentences = [part for part in _END_OF_SENTENCE.split(text) if part.strip()]
    return len(_words(text)) / max(1, len(sentences))


def _repetition(text: str) -> float:
    """The share of runs of three words that were there before."""
    words = _words(text)
    runs = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def _letters_per_word(text: str) -> float:
    words = _words(text)
    return sum(map(len, words)) / len(words) if words else 0.0


_CANNOT = ("can't", "cannot", "can not", "won't")

FEATURES = (
    Feature(N_("Length"), _log_of(lambda text: len(_words(text))), N_("longer answers"), N_("shorter answers")),
    Feature(N_("Words per sentence"), _log_of(_words_per_sentence), N_("longer sentences"), N_("shorter sentences")),
    Feature(N_("Letters per word"), _letters_per_word, N_("longer words"), N_("shorter words")),
    Feature(
        N_("Paragraphs"),
        _log_of(lambda text: len(re.findall(r"\n\s*\n", text.strip()))),
        N_("answers in several paragraphs"),
        N_("answers in one paragraph"),
    ),
    Feature(
        N_("List"),
        _has(r"^[ \t]*(?:[-*•]|\d+[.)])\s", re.MULTILINE),
        N_("answers with a list"),
        N_("answers without a list"),
    ),
    Feature(
        N_("Heading"), _has(r"^#{1,6} ", re.MULTILINE), N_("answers with headings"), N_("answers without headings")
    ),
    Feature(N_("Bold text"), _has(r"\*\*[^*]+\*\*"), N_("answers with bold text"), N_("answers without bold text")),
    Feature(N_("Code"), _has(r"`"), N_("answers with code"), N_("answers without code")),
    Feature(N_("Digits"), _log_of(lambda text: len(re.findall(r"\d", text))), N_("more figures"), N_("fewer figures")),
    Feature(
        N_("Examples"),
        _has(r"\bfor (?:example|instance)\b|\be\.g\.|\bsuch as\b|예를 들|예컨대"),
        N_("answers with an example"),
        N_("answers without an example"),
    ),
    Feature(
        N_("Ends with a question"),
        _has(r"[?？][\s\"')*]*$", re.NOFLAG),
        N_("answers that end with a question"),
        N_("answers that do not end with a question"),
    ),
    Feature(
        N_("Comes to its end"),
        lambda text: float(text.rstrip().endswith(_ENDS)),
        N_("answers that come to their end"),
        N_("answers that break off"),
    ),
    Feature(
        N_("Exclamation marks"),
        _log_of(lambda text: text.count("!") + text.count("！")),
        N_("more exclamation marks"),
        N_("fewer exclamation marks"),
    ),
    Feature(
        N_("Hedges"),
        _per_hundred_words(
            "may might maybe perhaps possibly probably likely seem seems generally usually often could",
            ("아마", "것 같", "수도 있"),
        ),
        N_("more cautious words"),
        N_("fewer cautious words"),
    ),
    Feature(
        N_("Warmth"),
        _per_hundred_words(
            "thank thanks please glad gladly happy welcome wonderful great lovely enjoy hope", ("감사", "고맙", "반갑")
        ),
        N_("warmer words"),
        N_("cooler words"),
    ),
    Feature(
        N_("First person"),
        _per_hundred_words("i me my mine i'm i've i'd i'll", ("저는", "제가", "나는")),
        N_("more of “I”"),
        N_("less of “I”"),
    ),
    Feature(
        N_("Second person"),
        _per_hundred_words("you your yours you're you've you'd you'll", ("당신",)),
        N_("more of “you”"),
        N_("less of “you”"),
    ),
    Feature(
        N_("Apology"),
        _says("sorry", "apologise", "apologize", "apologies", "죄송", "미안"),
        N_("answers that apologise"),
        N_("answers without an apology"),
    ),
    Feature(
        N_("Refusal"),
        _says(
            *("i'm unable", "i am unable", "i'm not able", "i am not able", "as an ai "),
            *(f"i {cannot} {verb}" for cannot in _CANNOT for verb in ("help", "assist", "provide", "answer")),
            *("도와드릴 수 없", "제공할 수 없"),
        ),
        N_("answers that refuse"),
        N_("answers that do not refuse"),
    ),
    Feature(
        N_("Repetition"), _repetition, N_("answers that repeat themselves"), N_("answers that do not repeat themselves")
    ),
)


def read(text: str) -> list[float]:
    """The value of every feature, in the order of FEATURES."""
    # Typographic apostrophes say the same.
    text = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return [feature.value(text) for feature in FEATURES]
