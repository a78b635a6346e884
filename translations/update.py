"""`make messages`: takes the strings of the code and the templates into every catalogue, and says what is untranslated.

A new language begins with `make messages NEW=de`.
"""

import io
import sys
from pathlib import Path

from babel import Locale
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_file
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent
KEYWORDS = DEFAULT_KEYWORDS | {"N_": None}
OPTIONS = {"trimmed": "true", "newstyle_gettext": "true", "silent": "false"}
"""Of templates, as app/templating.py sets them."""
SPOKEN_DATA = {
    "app/runs/hyper.py": {"_number": (2,), "_choice": (2,)},
    "app/datasets/rules.py": {"Rule": (2,), "leave_out": (2,)},
}
"""Sentences that programs read as well, as arguments of these calls; pages translate them where they show them."""


def extracted() -> Catalog:
    """Every string for people, with the files it stands in."""
    found = Catalog(project="Pairloop", charset="utf-8")
    for path in sorted([*(ROOT / "app").rglob("*.py"), *(ROOT / "templates").rglob("*.html")]):
        name = path.relative_to(ROOT).as_posix()
        method = "python" if path.suffix == ".py" else "jinja2.ext:babel_extract"
        keywords = KEYWORDS | SPOKEN_DATA.get(name, {})
        for _line, message, comments, context in extract_from_file(method, path, keywords, options=OPTIONS):
            found.add(message, None, [(name, 0)], auto_comments=comments, context=context)
    return found


def catalogues() -> list[Path]:
    return sorted(HERE.glob("*/LC_MESSAGES/pairloop.po"))


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.parent.name)


def untranslated(catalogue: Catalog) -> list[Message]:
    """Entries without a whole translation."""
    return [one for one in catalogue if one.id and (one.fuzzy or not all(_forms(one.string)))]


def _forms(string: str | tuple[str, ...] | list[str] | None) -> list[str]:
    return [string or ""] if string is None or isinstance(string, str) else list(string)


def update(path: Path, found: Catalog) -> Catalog:
    """Add what is new to a catalogue, drop what is gone, keep every translation and the head as it was written."""
    head, _blank, _entries = path.read_text().partition("\n\n")
    catalogue = read(path)
    catalogue.update(found, no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    entries = io.BytesIO()
    write_po(entries, catalogue, width=120, sort_output=True, include_lineno=False, omit_header=True)
    path.write_text(f"{head}\n\n{entries.getvalue().decode()}")
    return catalogue


def begin(language: str) -> None:
    """An empty catalogue of a new language."""
    path = HERE / language / "LC_MESSAGES" / "pairloop.po"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        forms = Catalog(locale=Locale.parse(language)).plural_forms
        lines = (f"Language: {language}", f"Plural-Forms: {forms}", "Content-Type: text/plain; charset=utf-8")
        head = [f"# Pairloop in {language}. Write here how this language speaks.", 'msgid ""', 'msgstr ""']
        path.write_text("\n".join([*head, *(f'"{line}\\n"' for line in lines), "", ""]))


def main() -> None:
    for language in sys.argv[1:]:
        begin(language)
    found = extracted()
    for path in catalogues():
        missing = untranslated(update(path, found))
        said = [f"not translated: {one.id!r}" for one in missing]
        said.append(f"{len(found)} messages, {len(missing)} to translate.")
        sys.stdout.writelines(f"{path.relative_to(ROOT)}: {line}\n" for line in said)


if __name__ == "__main__":
    main()
