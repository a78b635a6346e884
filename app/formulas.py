r"""Formulas of a text as MathML: `$…$`, `$$…$$`, `\(…\)` and `\[…\]`; what cannot be one is shown as it was written.

Dollars are read by mdit-py-plugins, with prices in mind; brackets by two rules here, because the plugin's own drop
what follows a formula on its line. latex2mathml makes elements of them, of which only those that draw something and
hide nothing are kept: no colours, phantoms, links or spaces that push text out of sight.
"""

import html
import re
import time
from collections.abc import MutableMapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element, tostring

from latex2mathml.converter import convert_to_element
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from mdit_py_plugins.dollarmath import dollarmath_plugin

LONGEST_FORMULA = 1_000
"""Characters up to which something between delimiters is read as a formula."""
FORMULA_SECONDS = 0.05
"""How long the formulas of one text may take; the rest of them stay as they were written."""
LONG = 60
"""Characters from which a formula within a line may be wider than a phone, and so scrolls by itself."""

TAGS = {
    *("math", "mfrac", "mi", "mn", "mo", "mmultiscripts", "mover", "mprescripts", "mroot", "mrow", "ms", "mspace"),
    *("msqrt", "mstyle", "msub", "msubsup", "msup", "mtable", "mtd", "mtext", "mtr", "munder", "munderover", "none"),
}
ATTRIBUTES = {
    "math": {"display"},
    "mfrac": {"linethickness"},
    "mi": {"mathvariant"},
    "mo": {"fence", "form", "stretchy", "accent", "movablelimits", "symmetric", "minsize", "maxsize"},
    "mover": {"accent"},
    "mspace": {"width"},
    "mstyle": {"displaystyle", "scriptlevel"},
    "mtable": {"displaystyle", "columnalign"},
    "mtd": {"columnalign"},
    "munder": {"accentunder"},
}
# A word, or a length of at most a few letters' width.
_PLAIN = re.compile(r"[a-z ]{1,40}|-?[0-3]?(\.\d{1,6})?(em)?")
_CLOSING = {"(": r"\)", "[": r"\]"}
_NAMED = re.compile(r"\\(?:text|mathrm|operatorname|mbox|textbf|textit)\*?\{[^{}]*\}|\\[A-Za-z]+")
_PROSE = re.compile(r"\s[^\W\d_]{2,}[.,;:!?]?\s|\s[^\W\d_]{3,}|[^\W\d_]{3,}[.,;:!?]?\s")


def read_formulas(reader: MarkdownIt) -> None:
    """Teach a Markdown reader to find formulas and to draw them."""
    reader.use(
        dollarmath_plugin,
        allow_labels=False,
        allow_space=False,
        allow_digits=False,
        allow_blank_lines=False,
        double_inline=True,
    )
    reader.inline.ruler.before("escape", "math_brackets", _within_a_line)
    reader.block.ruler.before(
        "fence", "math_brackets", _on_lines_of_its_own, {"alt": ["paragraph", "reference", "blockquote", "list"]}
    )
    for kind in ("math_inline", "math_inline_double", "math_block"):
        reader.add_render_rule(kind, _drawn)


def _within_a_line(state: StateInline, silent: bool) -> bool:
    opening = state.src[state.pos : state.pos + 2]
    if opening[:1] != "\\" or opening[1:] not in _CLOSING:
        return False
    closing = _CLOSING[opening[1]]
    end = state.src.find(closing, state.pos + 2, min(state.posMax, state.pos + LONGEST_FORMULA))
    if end < 0:
        return False
    if not silent:
        token = state.push("math_inline" if opening == r"\(" else "math_inline_double", "math", 0)
        token.content = state.src[state.pos + 2 : end]
        token.markup, token.info = opening, closing
    state.pos = end + 2
    return True


def _on_lines_of_its_own(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    start = state.bMarks[first] + state.tShift[first]
    if state.is_code_block(first) or not state.src.startswith(r"\[", start):
        return False
    end = state.src.find(r"\]", start + 2, min(state.eMarks[last - 1], start + LONGEST_FORMULA))
    line = first
    while end > state.eMarks[line]:
        line += 1
        if line == last or state.isEmpty(line):
            return False
    if end < 0 or state.src[end + 2 : state.eMarks[line]].strip():
        return False  # A sentence that goes on behind it has it as a part.
    if not silent:
        token = state.push("math_block", "math", 0)
        token.block, token.map = True, [first, line + 1]
        token.content = state.getLines(first, line + 1, state.blkIndent, False).strip()[2:-2]
        token.markup, token.info = r"\[", r"\]"
    state.line = line + 1
    return True


def _drawn(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    token = tokens[index]
    block = token.type != "math_inline"
    start = time.monotonic()
    drawn = None if env["formula_seconds"] <= 0 or _is_prose(token) else mathml(token.content.strip(), block)
    env["formula_seconds"] -= time.monotonic() - start
    if drawn is None:
        written = escapeHtml(f"{token.markup}{token.content}{token.info or token.markup}")
        return f'<p dir="auto" class="plain">{written}</p>\n' if token.type == "math_block" else written
    if token.type == "math_block":
        return f'<div class="formula" tabindex="0">{drawn}</div>\n'
    return f'<span class="formula" tabindex="0">{drawn}</span>' if block or len(token.content) > LONG else drawn


def _is_prose(token: Token) -> bool:
    """Whether dollars stand around a piece of a sentence, as two prices do."""
    return token.markup == "$" and bool(_PROSE.search(_NAMED.sub("", token.content)))


def mathml(formula: str, block: bool) -> str | None:
    """A formula as MathML with nothing in it but what is drawn; None where it is none."""
    if not formula or len(formula) > LONGEST_FORMULA or "$" in formula:
        return None
    try:
        element = convert_to_element(formula, display="block" if block else "inline")
        for node in element.iter():
            _keep_the_drawn(node)
        return tostring(element, encoding="unicode")
    except Exception:
        # Whatever a text of a model or a person does to the library: it is shown as it was written.
        return None


def _keep_the_drawn(node: Element) -> None:
    if node.tag not in TAGS:
        node.tag = "mrow"
    known = ATTRIBUTES.get(node.tag, set())
    node.attrib = {name: value for name, value in node.attrib.items() if name in known and _PLAIN.fullmatch(value)}
    # The converter writes signs as references; as characters they are escaped once, with whatever else is in a text.
    node.text = html.unescape(node.text) if node.text else node.text
