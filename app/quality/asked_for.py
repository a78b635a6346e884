"""What the guidelines ask for, as far as single words tell it, to set beside what people prefer.

Only plain words are read: a table of words by feature, English and Korean. Headings and quotes are left out, as is a
sentence that says "not", "never" or the like, because it may mean the opposite; where the words ask for both, nothing
is said.
"""

import re
from typing import NamedTuple


class Words(NamedTuple):
    """Words that ask for more of a feature, and for less of it, as regular expressions."""

    more: str
    less: str


WORDS = {
    "Length": Words(
        r"\blong(?:er)?\b|\bdetailed\b|\bthorough\b|\bin depth\b|길게|긴 답|자세",
        r"\bshort(?:er)?\b|\bbrief(?:ly)?\b|\bconcise(?:ly)?\b|\bto the point\b|짧|간결|간단",
    ),
    "Words per sentence": Words(r"\blong sentences\b|긴 문장", r"\bshort sentences\b|짧은 문장"),
    "List": Words(r"\bbullet points?\b|\b(?:as|with) (?:a )?lists?\b|목록으로", r"\bflowing text\b|\bprose\b|줄글"),
    "Code": Words(r"\bwith code\b|\bshow(?:s|ing)? code\b|코드를 보여", r"(?!)"),
    "Examples": Words(r"\b(?:with|gives?|includes?) (?:an )?examples?\b|예를 들어|예시를 들", r"(?!)"),
    "Ends with a question": Words(r"\bends? with a question\b|\bfollow-up question\b|질문으로 끝", r"(?!)"),
    "Hedges": Words(
        r"\bcautious(?:ly)?\b|\bhedged?\b|\btentative\b|조심스럽", r"\bconfident(?:ly)?\b|\bdecisive\b|단정적|확신"
    ),
    "Warmth": Words(
        r"\bwarm(?:er|th|ly)?\b|\bfriendly\b|\bkind(?:er|ly)?\b|따뜻|친절",
        r"\bmatter-of-fact\b|\bneutral(?:ly)?\b|담백|건조",
    ),
    "Exclamation marks": Words(r"\blively\b|\benthusiastic\b|활기", r"\bcalm(?:ly)?\b|\bsober\b|차분"),
}
"""By the feature's name; a pattern `(?!)` never matches."""
NEGATED = re.compile(r"\b(?:not|never|no|without|avoid|nor)\b|n't\b|말고|말 것|마세요|않|없이", re.IGNORECASE)
SENTENCE = re.compile(r"[.!?。]+\s|\n")


def read(guidelines: str) -> dict[str, bool]:
    """The features that the guidelines ask for: more of it (True) or less of it (False)."""
    own = "\n".join(line for line in guidelines.splitlines() if not line.lstrip().startswith(("#", ">")))
    text = "\n".join(part for part in SENTENCE.split(own) if not NEGATED.search(part))
    found = {}
    for name, words in WORDS.items():
        more, less = (bool(re.search(pattern, text, re.IGNORECASE)) for pattern in words)
        if more != less:
            found[name] = more
    return found
