"""Text of models and people is shown whole, runs nothing, fetches nothing, and is drawn in a moment."""

import html
import re
import time
from html.parser import HTMLParser

import pytest

from app import formulas
from app.rendering import LONGEST, markdown

HOSTILE = [
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "![x](https://t.example/p.png)",
    "<img src=x onerror=alert(1)>",
    "[x](<javascript:alert(1)>)",
    '<a href="vbscript:x">y</a>',
    '```"><script>alert(1)</script>\nx\n```',
    '```python onload=alert(1)\nprint("<b>")\n```',
    '[a](https://ok.example "t\\"onmouseover=alert(1)")',
    "<svg/onload=alert(1)>",
    "&#106;avascript:alert(1)",
    "[x](&#106;avascript:alert(1))",
    '<div style="position:fixed">',
    "[x]: javascript:alert(1)\n\n[x]",
    "hi\u202eevil",
    "<math><mtext></table><mglyph><style><img src onerror=alert(1)>",
    "[x](//evil.example)",
    "<form action=/logout><button>",
    # Ours: links into the application, schemes with odd letters, mixed containers, names and classes of our page.
    "[sign out](/sign-out)",
    "[x](?next=1)",
    "[x](java\tscript:alert(1))",
    "[x](\x01javascript:alert(1))",
    "<javascript:alert(1)>",
    "[x](file:///etc/passwd)",
    "[x](blob:https://a.example/1)",
    '[x](https://a.example/"onclick="alert(1))',
    "[<img src=x onerror=alert(1)>](https://a.example)",
    "[![x](https://t.example/p.png)](https://a.example)",
    "`<script>alert(1)</script>`",
    "    <iframe src=https://a.example>",
    "|<script>|b|\n|-|-|\n|<img src=x onerror=alert(1)>|2|",
    "```html\n<script>alert(1)</script></code></pre><script>alert(2)</script>\n```",
    "<style>*{display:none}</style>",
    '<link rel=stylesheet href="https://t.example/a.css"><base href="https://evil.example">',
    "<template><script>alert(1)</script></template>",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    '<div id="desk" hx-get="/sign-out" hx-trigger="load">',
    "\x00<script>alert(1)</script>",
    "\ufeff<scr\x00ipt>alert(1)</script>",
    r"$\text{<script>alert(1)</script>}$",
    r"$\href{javascript:alert(1)}{x}$",
    r"$\style{position:fixed}{x}$",
    r"\(\class{button primary}{x}\)",
    r"$\text{&lt;img src=x onerror=alert(1)&gt;}$",
    r"$$\begin{matrix}<img src=x onerror=alert(1)>\end{matrix}$$",
    r"$\mathchoice{</math><script>alert(1)</script>}$",
    r"\[</math><img src=x onerror=alert(1)>\]",
]

ALLOWED = set("p h3 ul ol li blockquote table thead tbody tr th td div a br code em hr pre s span strong".split())  # noqa: SIM905
CLASSES = re.compile(r"level-[1-6]|table-scroll|formula|plain|to-(left|center|right)|[a-z0-9]{1,3}")
ATTRIBUTES = {"dir", "class", "href", "rel", "target", "start", "tabindex"}
DRAWING = {name for names in formulas.ATTRIBUTES.values() for name in names}


class Found(HTMLParser):
    """Everything in the HTML that the allow-list does not know."""

    def __init__(self, rendered: str) -> None:
        super().__init__()
        self.strange: list[object] = []
        self.text = ""
        self.feed(rendered)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in formulas.TAGS:
            self.strange += [(tag, *each) for each in attrs if each[0] not in DRAWING]
            return
        if tag not in ALLOWED:
            self.strange.append(tag)
        for name, value in attrs:
            bad_link = name == "href" and not re.match(r"(https?://|mailto:)", value or "")
            bad_class = name == "class" and not CLASSES.fullmatch(value or "")
            if name not in ATTRIBUTES or bad_link or bad_class:
                self.strange.append((tag, name, value))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("payload", HOSTILE)
def test_nothing_hostile_survives(payload: str) -> None:
    assert Found(markdown(payload)).strange == []


@pytest.mark.parametrize("payload", HOSTILE)
def test_nothing_hostile_survives_in_text_too_long_for_markdown(payload: str) -> None:
    assert Found(markdown(payload + " x" * LONGEST)).strange == []


def test_the_check_itself_finds_what_it_looks_for() -> None:
    for unsafe in (
        "<script>",
        '<p style="x">',
        '<a href="/sign-out">',
        '<p onclick="x">',
        '<p class="button primary">',
    ):
        assert Found(unsafe).strange, unsafe


def test_markdown_is_drawn() -> None:
    drawn = markdown(
        "# Trees\n\nAn **oak** is *old*, ~~small~~.\n\n| a | b |\n|--:|---|\n| 1 | `x` |\n\n3. three\n4. four"
    )
    for part in (
        '<h3 class="level-1" dir="auto">Trees</h3>',
        "<strong>oak</strong>",
        "<em>old</em>",
        "<s>small</s>",
        '<td class="to-right">1</td>',
        "<td><code>x</code></td>",
        '<ol start="3" dir="auto">',
    ):
        assert part in drawn


def test_code_is_coloured_by_class_and_keeps_every_character() -> None:
    code = 'def leaf(n):\n\n    return "<b>" * n  # grün\n'
    drawn = markdown(f"```python\n{code}```")
    assert '<span class="k">def</span>' in drawn
    assert "style=" not in drawn
    assert html.unescape(re.sub(r"<[^>]+>", "", drawn)).strip() == code.strip()


@pytest.mark.parametrize("written", [r"$\frac{a}{b}$", r"\(\frac{a}{b}\)", r"$$\frac{a}{b}$$", r"\[\frac{a}{b}\]"])
def test_a_formula_is_drawn_however_it_is_marked(written: str) -> None:
    for text in (f"So {written}.", written, f"- {written}", f"> {written}"):
        assert "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>" in markdown(text), text


def test_a_formula_on_lines_of_its_own_is_no_list() -> None:
    drawn = markdown("\\[\na\n- b\n\\]\nafter")
    assert "<mo>−</mo>" in drawn
    assert "<li>" not in drawn
    assert "after" in drawn


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 and $6, or 5$ and 10$.",
        "between $5 and 10$ more",
        "a US$ and another $",
        "$not closed",
        r"$\begin{$",
        r"$\frac$",
        r"$$a$$ inline $$b$$",
        "$" + "x" * (formulas.LONGEST_FORMULA + 1) + "$",
    ],
)
def test_what_is_no_formula_stays_as_it_was_written(text: str) -> None:
    drawn = markdown(text)
    assert "<math" not in drawn
    assert Found(drawn).text.strip() == text


@pytest.mark.parametrize(
    "formula",
    [r"\color{white}{gone}", r"\phantom{gone}", r"\hspace{-99em}gone", r"\textcolor{#fff}{gone}", r"\tiny{gone}"],
)
def test_a_formula_hides_nothing(formula: str) -> None:
    drawn = markdown(f"\\({formula}\\)")
    assert "".join(re.findall(r"<m[ion]>(\w)</m", drawn)).endswith("gone")
    assert not re.search(r"color|phantom|width=|size=", drawn)


def test_a_line_break_stays_a_line_break() -> None:
    assert "one<br>\ntwo" in markdown("one\ntwo")


def test_links_open_elsewhere_and_tell_nothing() -> None:
    assert markdown("[oak](https://trees.example)") == (
        '<p dir="auto"><a href="https://trees.example" target="_blank" rel="nofollow noopener noreferrer">oak</a></p>\n'
    )


@pytest.mark.parametrize(
    ("hidden", "shown"),
    [
        ("a\u202eb", "a[U+202E]b"),
        ("a&#x202e;b", "a[U+202E]b"),
        ("`a\u2066b`", "a[U+2066]b"),
        ("    a\u2069b", "a[U+2069]b"),
        ("```python\na = 1 # \u202db\n```", "a = 1 # [U+202D]b"),
        ("a\u200bb", "a[U+200B]b"),
        ("\u00e9\U000e0041\U000e0042", "\u00e9[U+E0041][U+E0042]"),
        ("a\x1b[31mb", "a[U+001B][31mb"),
    ],
)
def test_characters_that_reorder_or_hide_text_are_named(hidden: str, shown: str) -> None:
    assert Found(markdown(hidden)).text.strip() == shown


def test_they_are_named_in_text_too_long_for_markdown_as_well() -> None:
    assert "a[U+202E]b" in Found(markdown("a\u202eb\n\n" + "x" * LONGEST)).text


@pytest.mark.parametrize(
    "innocent",
    ["שלום עולם", "مرحبا\u200f!", "👩\u200d🔬", "می\u200cخواهم", "\U0001f3f4\U000e0067\U000e0062\U000e007f", "a\tb"],
)
def test_other_scripts_and_emoji_stay_as_they_are(innocent: str) -> None:
    assert Found(markdown(innocent)).text.strip() == innocent


def test_right_to_left_paragraphs_find_their_own_direction() -> None:
    assert markdown("שלום\n\nhello").count('dir="auto"') == 2


@pytest.mark.parametrize(
    "text",
    [
        "[a]: https://a.example 'note'\n\nrest",
        ">" * 40 + " deep",
        "x" * (LONGEST + 1) + " end",
        "first\n\n" + "long " * LONGEST + "\n\nlast",
        "".join(" " * (2 * depth) + "- level\n" for depth in range(40)),
    ],
)
def test_nothing_said_is_hidden(text: str) -> None:
    shown = Found(markdown(text)).text
    for word in set(re.findall(r"[a-z]+", text)):
        assert shown.count(word) >= text.count(word), word


BOMBS = {
    "table": "|a" * 3000 + "\n" + "|-" * 3000 + "\n" + "|a\n" * 1500,
    "table without pipes": "|a" * 100 + "\n" + "|-" * 100 + "\n" + "a\n" * 9000,
    "brackets": "[" * 20000,
    "pictures": "![" * 9000,
    "quotes": ">" * 20000,
    "emphasis": "*a **a " * 2800,
    "c": "```c\n" + "\n" * 10000 + "\n```",
    "ini": "```ini\n" + "\t" * 10000 + "x\n```",
    "cpp": "```cpp\n" + (" " * 190 + "x") * 100 + "\n```",
    "python": "```python\n" + " \n" * 9000 + "\n```",
    "makefile": "```makefile\n" + "q{" * 9000 + "\n```",
    "dollars": "$a" * 10000,
    "brackets of formulas": "\\[\n" * 6600,
    "deep formula": ("$" + "{" * 400 + "}" * 400 + "$ ") * 20,
    "many formulas": "$x$ " * 5000,
    "wide matrix": ("$\\begin{matrix}" + "1&" * 480 + "\\end{matrix}$ ") * 20,
    "roots": ("$" + "\\sqrt" * 190 + "x$ ") * 20,
    "many fences": "```js\n'\\'\\'\\\n```\n" * 1000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_little_time_and_room(name: str) -> None:
    markdown.cache_clear()
    start = time.process_time()
    drawn = markdown(BOMBS[name])
    assert time.process_time() - start < 1.5
    assert len(drawn) < 400_000


def test_the_same_text_is_drawn_once() -> None:
    assert markdown("Twice the same text.") is markdown("Twice the same text.")
