"""Markdown of a model or a person as safe HTML: nothing runs, nothing is fetched, nothing said stays hidden.

CommonMark with tables, strikethrough and formulas goes through markdown-it (raw HTML off, so tags are shown as text)
and then through nh3's allow-list. Images are off, because they would tell another server who reads; reference
definitions are off, because they would hide text; characters that reorder or hide text are shown by name. Whatever is
too long or too intricate to render in a moment is shown in full as plain text.
"""

import re
import time
from collections.abc import MutableMapping, Sequence
from functools import cache, lru_cache
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup, escape
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES

from app import formulas

LONGEST = 20_000
"""Characters up to which text is read as Markdown."""
MOST_CELLS = 5_000
"""Cells up to which a table is drawn; the parser fills short rows, so few characters can ask for very many cells."""
CODE_SECONDS = 0.05
"""How long one text may keep the highlighter busy; the rest of its code stays uncoloured."""

LANGUAGES = {
    name: lexer
    for lexer, names in {
        "bash": "sh shell console zsh",
        "c": "h",
        "cpp": "c++ cc hpp",
        "csharp": "cs c#",
        "css": "",
        "diff": "patch",
        "go": "golang",
        "haskell": "hs",
        "html": "",
        "java": "",
        "javascript": "js jsx",
        "json": "",
        "kotlin": "kt",
        "lua": "",
        "perl": "",
        "php": "",
        "python": "py python3",
        "r": "",
        "ruby": "rb",
        "rust": "rs",
        "sql": "postgresql mysql sqlite",
        "swift": "",
        "toml": "",
        "typescript": "ts tsx",
        "xml": "svg",
        "yaml": "yml",
    }.items()
    for name in (lexer, *names.split())
}

_BLOCKS = {"p", "h3", "ul", "ol", "blockquote", "table", "div"}
_INSIDE = {"a", "br", "code", "em", "hr", "li", "pre", "s", "span", "strong", "tbody", "td", "th", "thead", "tr"}
_SAFE = nh3.Cleaner(
    tags=_BLOCKS | _INSIDE | formulas.TAGS,
    generic_attribute_prefixes=set(),
    attributes={
        "*": set(),
        "a": {"href"},
        "ol": {"start"},
        **{name: {"tabindex"} for name in ("pre", "div", "span")},
        **formulas.ATTRIBUTES,
    },
    # A class is kept only where our own rules below give one.
    allowed_classes={
        "span": {name for name in STANDARD_TYPES.values() if name} | {"formula"},
        "h3": {f"level-{level}" for level in range(1, 7)},
        "div": {"table-scroll", "formula"},
        "th": {"to-left", "to-center", "to-right"},
        "td": {"to-left", "to-center", "to-right"},
    },
    tag_attribute_values={name: {"dir": {"auto"}} for name in _BLOCKS},
    set_tag_attribute_values={"a": {"target": "_blank"}},
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    link_rel="nofollow noopener noreferrer",
)

# Embeddings, overrides and isolates reorder what is read; tag characters (outside a flag) and controls hide in it.
_DECEPTIVE = re.compile(
    "[\u202a-\u202e\u2066-\u2069\u200b\u2060\ufeff\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
    "|(?<![\U0001f3f4\U000e0000-\U000e007f])[\U000e0000-\U000e007f]+"
)
_LONG_GAP = re.compile(r"\s{200}")


def name_deceptive(text: str) -> str:
    """The text with every character that would reorder or hide what is read replaced by its code point, in brackets."""
    return _DECEPTIVE.sub(lambda found: "".join(f"[U+{ord(each):04X}]" for each in found[0]), text)


@lru_cache(maxsize=512)
def markdown(text: str) -> Markup:
    """Safe HTML of Markdown, to be put inside an element of the class `markdown`; also the Jinja filter."""
    if len(text) > LONGEST:
        return _plain(text)
    # A renderer of its own would cost a millisecond each; what belongs to one text travels in `env`.
    env = {"code_seconds": CODE_SECONDS, "formula_seconds": formulas.FORMULA_SECONDS}
    tokens = (_WITHOUT_TABLES if _asks_for_too_many_cells(text) else _WITH_TABLES).parse(text, env)
    if any(token.level >= _WITH_TABLES.options["maxNesting"] - 1 for token in tokens):
        return _plain(text)  # The parser drops what is nested deeper.
    return Markup(_SAFE.clean(_WITH_TABLES.renderer.render(tokens, _WITH_TABLES.options, env)))


def _plain(text: str) -> Markup:
    paragraphs = (escape(name_deceptive(part)) for part in re.split(r"\n\s*\n", text) if part.strip())
    return Markup("").join(Markup('<p dir="auto" class="plain">{}</p>').format(part) for part in paragraphs)


def _asks_for_too_many_cells(text: str) -> bool:
    lines = text.splitlines()
    return max((line.count("|") for line in lines), default=0) * len(lines) > MOST_CELLS


def _finish_tokens(state: StateCore) -> None:
    """Name deceptive characters, give top-level blocks their own direction, make every heading one below the page's."""
    for token in state.tokens:
        for part in (token, *(token.children or ())):
            if part.type in ("text", "code_inline", "code_block", "fence") or part.type.startswith("math_"):
                part.content = name_deceptive(part.content)
        if token.type in ("heading_open", "heading_close"):
            # The page's own outline ends at h2; a text that skips levels must not break it.
            token.attrSet("class", f"level-{token.tag[1]}")
            token.tag = "h3"
        if align := str(token.attrs.pop("style", "")).removeprefix("text-align:"):
            token.attrSet("class", f"to-{align}")  # The CSP allows no styles.
        if token.level == 0 and token.nesting == 1:
            token.attrSet("dir", "auto")


def _code(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    """A block of code that can be reached by keyboard, coloured by class names where its language is known."""
    token = tokens[index]
    language = LANGUAGES.get(next(iter(token.info.split()), "").lower())
    # Long gaps send the lexers of C and C++ into minutes of backtracking inside one match, where no clock is read.
    if language is None or _LONG_GAP.search(token.content):
        return f'<pre tabindex="0"><code>{escapeHtml(token.content)}</code></pre>\n'
    lexer = _lexer(language)
    start = time.monotonic()
    coloured = _coloured(token.content, lexer, start + env["code_seconds"])
    env["code_seconds"] -= time.monotonic() - start
    return f'<pre tabindex="0"><code>{coloured}</code></pre>\n'


@cache
def _lexer(language: str) -> Lexer:
    return get_lexer_by_name(language, ensurenl=False, stripnl=False)


def _coloured(code: str, lexer: Lexer, until: float) -> str:
    parts = []
    length = 0
    for kind, value in lexer.get_tokens(code):
        if time.monotonic() > until:
            parts.append(escapeHtml(code[length:]))
            break
        length += len(value)
        name = STANDARD_TYPES.get(kind, "")
        parts.append(f'<span class="{name}">{escapeHtml(value)}</span>' if name else escapeHtml(value))
    return "".join(parts)


def _table_open(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    return '<div class="table-scroll" tabindex="0">' + self.renderToken(tokens, index, options, env)


def _table_close(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    return self.renderToken(tokens, index, options, env) + "</div>"


def _reader(*rules: str) -> MarkdownIt:
    # People and chat models mean a line break when they write one, so `breaks` keeps it.
    reader = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["strikethrough", *rules])
    reader.disable(["image", "reference"])
    formulas.read_formulas(reader)
    reader.core.ruler.push("finish_tokens", _finish_tokens)
    reader.add_render_rule("fence", _code)
    reader.add_render_rule("code_block", _code)
    reader.add_render_rule("table_open", _table_open)
    reader.add_render_rule("table_close", _table_close)
    return reader


_WITH_TABLES = _reader("table")
_WITHOUT_TABLES = _reader()
