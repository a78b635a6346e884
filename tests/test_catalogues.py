"""Every string for people is translated into every language, with the same placeholders and no markup of its own."""

import io
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from jinja2 import Environment
from jinja2.ext import babel_extract

from app.templating import environment
from translations import update

FOUND = update.extracted()
PATHS = update.catalogues()
MEND = "Run `make messages`, translate what it lists, and commit the catalogue with your strings."


def name_of(path: Path) -> str:
    return path.parent.parent.name


@pytest.fixture(params=PATHS, ids=name_of)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def catalogue(path: Path) -> Catalog:
    return update.read(path)


def ids(catalogue: Catalog) -> set[object]:
    return {one.id for one in catalogue if one.id}


def pairs(catalogue: Catalog) -> Iterator[tuple[Message, str, str]]:
    """Every message with each of its translated forms and the English form beside it."""
    for one in catalogue:
        if one.id:
            english = [one.id] if isinstance(one.id, str) else list(one.id)
            said = [one.string] if isinstance(one.string, str) else list(one.string)
            for form in filter(None, said):
                yield one, english[-1], form


def placeholders(text: str) -> set[str]:
    named = set(re.findall(r"%\((\w+)\)s", text))
    try:
        fields = {
            f"{{{name}!{conversion}:{spec}}}" for _, name, spec, conversion in string.Formatter().parse(text) if name
        }
    except ValueError:
        fields = set()  # braces that are no placeholders, as in {"updates": 8}
    return named | fields


def test_there_is_korean() -> None:
    assert "ko" in [name_of(path) for path in PATHS]


def test_a_catalogue_holds_the_strings_of_the_code_and_no_others(path: Path, catalogue: Catalog) -> None:
    missing, gone = ids(FOUND) - ids(catalogue), ids(catalogue) - ids(FOUND)
    assert not missing, f"{MEND} Not in {path.name} of {name_of(path)} yet: {sorted(map(str, missing))}"
    assert not gone, f"{MEND} No longer in the code: {sorted(map(str, gone))}"


def test_every_entry_is_translated(path: Path, catalogue: Catalog) -> None:
    missing = [one.id for one in update.untranslated(catalogue)]
    assert not missing, f"{MEND} To translate in {path.relative_to(update.ROOT)}: {missing}"


def test_placeholders_are_those_of_the_english(catalogue: Catalog) -> None:
    wrong = [(english, said) for _, english, said in pairs(catalogue) if placeholders(english) != placeholders(said)]
    assert wrong == []


def test_a_translation_brings_no_markup(catalogue: Catalog) -> None:
    """Templates trust what the catalogues say: a `<` there would reach the page as it is."""
    assert [said for _, english, said in pairs(catalogue) if set("<>&") & set(said) - set(english)] == []


def test_spaces_around_a_sentence_stay(catalogue: Catalog) -> None:
    assert [said for _, english, said in pairs(catalogue) if english[0].isspace() != said[:1].isspace()] == []


def test_pages_can_fill_in_every_translation(catalogue: Catalog) -> None:
    """Templates treat each as a format: a lone `%` would break the page."""
    for message, english, said in pairs(catalogue):
        if any(place.startswith("templates/") for place, _line in message.locations):
            assert said % dict.fromkeys(placeholders(english), "x")


def test_what_is_taken_from_templates_is_what_pages_ask_for() -> None:
    source = (
        "{% trans %}95 % of\n  them{% endtrans %}"
        "{% trans n=1 %}{{ n }} % one{% pluralize %}{{ n }} % many{% endtrans %}"
    )
    asked: list[object] = []
    pages = Environment(extensions=["jinja2.ext.i18n"])
    pages.policies.update(environment.policies)
    pages.install_gettext_callables(  # type: ignore[attr-defined]
        lambda one: asked.append(one) or one, lambda one, many, n: asked.append((one, many)) or one, newstyle=True
    )
    pages.from_string(source).render()
    taken = babel_extract(io.BytesIO(source.encode()), update.KEYWORDS, (), update.OPTIONS)
    assert [
        message if isinstance(message, str) else message[:2] for _line, _function, message, _comments in taken
    ] == asked
