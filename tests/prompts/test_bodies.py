"""Bodies are read entry by entry; what is broken is named by its line, and the rest is still read."""

import io
import tracemalloc

import pytest

from app.errors import BadInput
from app.prompts import bodies
from app.prompts.formats import Source


def read(body: bytes, kind: str | None = None) -> list[tuple[int, object]]:
    """Line and value, or line and the beginning of the reason."""
    found = bodies.entries(io.BytesIO(body)) if kind is None else Source(io.BytesIO(body), kind).entries()
    return [(entry.line, entry.why or entry.value) for entry in found]


def test_the_first_character_says_list_or_lines() -> None:
    assert read(b'\n\t [ "a", {"prompt": "b"} ]\n') == [(1, "a"), (2, {"prompt": "b"})]
    assert read(b'\n"a"\r\n\n{"prompt": "b"}') == [(2, "a"), (4, {"prompt": "b"})]
    assert read(b"\xef\xbb\xbf" + '"ü"\n'.encode()) == [(1, "ü")]
    assert read(b"[]") == []


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b'{"prompt": "b"', "This is not JSON: expecting ',' delimiter at character 15."),
        (b'{"prompt": "\xff"}', "This is not UTF-8: byte 13 begins no character. Save it as UTF-8."),
        (b'{"prompt": "\x00"}', "This is not JSON: invalid control character at at character 13."),
        (b'{"n": NaN}', "This has a number that is too long or is no JSON, such as NaN."),
        (b'{"n": ' + b"9" * 5000 + b"}", "This has a number that is too long or is no JSON, such as NaN."),
        (b"[" * 100_000, "This is nested too deeply."),
        (
            b'"' + b"x" * bodies.LONGEST + b'"',
            "This is longer than 2 MB, the most that a prompt or a comparison may be.",
        ),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(bad: bytes, why: str) -> None:
    assert read(b'"first"\n' + bad + b'\n"third"\n') == [(1, "first"), (2, why), (3, "third")]


def test_a_bad_item_of_a_list_is_named_and_the_others_are_read() -> None:
    long = b'"' + b"x" * bodies.LONGEST + b'"'
    assert read(b'["a", "\xff", ' + long + b', "d"]') == [
        (1, "a"),
        (2, "This is not UTF-8: byte 2 begins no character. Save it as UTF-8."),
        (3, "This is longer than 2 MB, the most that a prompt or a comparison may be."),
        (4, "d"),
    ]


@pytest.mark.parametrize(
    ("body", "last"),
    [
        (
            b'["a", {b}, "c"]',
            (2, "This is not JSON: expecting property name enclosed in double quotes at character 2."),
        ),
        (b'["a" "b"]', (2, "There is no comma before this item, so nothing from here on could be read.")),
        (b'["a"', (2, "The list has no closing bracket, so nothing from here on could be read.")),
        (b'["a",]', (2, "This is not JSON: expecting value at character 1.")),
        (b'["a"] "b"', (2, "Something follows the end of the list; it was not read.")),
        (b'["a", ' + b"[" * 100_000 + b"]", (2, "This is nested too deeply.")),
        (b'["a", "' + b"x" * 100_000, (2, "This is not JSON: unterminated string starting at at character 1.")),
    ],
)
def test_a_list_is_read_up_to_where_it_breaks(body: bytes, last: tuple[int, str]) -> None:
    first, broken = read(body)
    assert first == (1, "a")
    assert (broken[0], str(broken[1]).removesuffix(" Nothing from here on could be read.")) == last


def test_an_item_may_be_larger_than_the_window_and_characters_may_lie_across_its_edge() -> None:
    texts = ["ü" * (bodies.CHUNK + shift) for shift in range(3)] + ["end"]
    body = "[" + ", ".join(f'"{text}"' for text in texts) + "]"
    assert [value for _, value in read(body.encode())] == texts


@pytest.mark.parametrize(
    ("body", "word"), [(b"", "nothing"), (b" \n\t ", "nothing"), ("[]".encode("utf-16"), "UTF-16")]
)
def test_what_has_nothing_to_read_is_refused(body: bytes, word: str) -> None:
    with pytest.raises(BadInput, match=word):
        read(body)


def test_a_paste_is_plain_lines_unless_it_is_json() -> None:
    assert read(b'"Hello," she said.\n[1] Why?\n', "") == [(1, '"Hello," she said.'), (2, "[1] Why?")]
    assert read(b"[ask] me\n{curly}\n", "") == [(1, "[ask] me"), (2, "{curly}")]
    assert read(b'{"prompt": "a"}\n', "") == [(1, {"prompt": "a"})]
    assert read(b'["a"]', "") == [(1, "a")]
    assert read(b'"a"\n"b"', "") == [(1, "a"), (2, "b")]
    assert read(b'["a"]', "text") == [(1, '["a"]')]
    assert read(b"a\n\xff\n", "") == [(1, "a"), (2, "This is not UTF-8: byte 1 begins no character. Save it as UTF-8.")]


def test_a_long_body_is_never_held_as_a_whole() -> None:
    line = b'{"prompt": "' + b"y" * 1000 + b'"}'
    for body in (b"\n".join([line] * 20_000), b"[" + b",".join([line] * 20_000) + b"]"):
        file = io.BytesIO(body)
        tracemalloc.start()
        assert sum(1 for _ in bodies.entries(file)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < len(body) / 10
        tracemalloc.stop()
