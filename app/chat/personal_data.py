"""Does a text hold personal data? Plain patterns that rather stop too much than too little, before anything is kept.

They find addresses, numbers and the like by their form. They do not find names, street addresses, dates of birth,
health, or what somebody tells of another person: docs/serving.md says so to those who switch the keeping of prompts on.
"""

import re
from collections.abc import Iterable

EMAIL = re.compile(r"[\w.+-]{1,64}\s?(?:@|\(at\)|\[at\])\s?[\w-]+(?:\.[\w-]+)+", re.IGNORECASE)
# Seven digits or more, with what people put between them; a year, a price or a date in figures has fewer or is excused.
PHONE = re.compile(r"(?<![\w.])(?:\+|\(?0{1,2})?\(?\d{1,4}\)?(?:[\s./-]?\(?\d{2,4}\)?){2,5}(?![\w])")
CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:\s?[A-Z0-9]{4}){2,7}(?:\s?[A-Z0-9]{1,4})?\b", re.IGNORECASE)
ADDRESS = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
# Resident registration (Korea), social security (United States): six and seven, three, two and four digits.
NUMBER = re.compile(r"(?<!\d)(?:\d{6}-[1-8]\d{6}|\d{3}-\d{2}-\d{4})(?!\d)")
SECRET = re.compile(r"\b(?:sk|pk|ghp|gho|xox[abp]|pairloop)[-_][A-Za-z0-9_-]{16,}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----")
DATE = re.compile(r"(?:\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{2,4})")


def found_in(texts: Iterable[str]) -> str | None:
    """The kind of personal data that the first suspicious text holds, such as `e-mail`; None where nothing is seen."""
    return next((kind for text in texts if (kind := _kind_in(text)) is not None), None)


def _kind_in(text: str) -> str | None:
    for kind, pattern in (("e-mail", EMAIL), ("number", NUMBER), ("secret", SECRET), ("address", ADDRESS)):
        if pattern.search(text):
            return kind
    if any(_is_card(match.group()) for match in CARD.finditer(text)):
        return "card"
    if any(_is_iban(match.group()) for match in IBAN.finditer(text)):
        return "iban"
    if any(_is_phone(match.group()) for match in PHONE.finditer(text)):
        return "phone"
    return None


def _is_card(found: str) -> bool:
    """Luhn's check: every second digit from the right doubled, its digits added; the sum ends with 0."""
    digits = [int(one) for one in found if one.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def _is_iban(found: str) -> bool:
    """ISO 13616: the first four characters at the end, letters as numbers from 10, the whole modulo 97 is 1."""
    plain = re.sub(r"\s", "", found).upper()
    # What follows a real one in the sentence may look like a part of it, so shorter readings are tried, too.
    readings = (plain[4:end] + plain[:4] for end in range(15, len(plain) + 1))
    return any(int("".join(str(int(one, 36)) for one in reading)) % 97 == 1 for reading in readings)


def _is_phone(found: str) -> bool:
    if DATE.fullmatch(found.strip()):
        return False
    digits = sum(one.isdigit() for one in found)
    begins_like_one = found.lstrip("(").startswith(("+", "0"))
    return 7 <= digits <= 15 and (begins_like_one or bool(re.search(r"\d[\s./()-]+\d", found)))
