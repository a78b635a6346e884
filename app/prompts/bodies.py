"""What somebody sends in: a JSON list, JSON Lines or plain lines, read entry by entry and never held as a whole.

Every entry comes with its line number (in a JSON list: its place, from 1). What cannot be read comes with a sentence in
place of a value, and the reading goes on behind it wherever that is possible.
"""

import codecs
import json
import re
from collections.abc import AsyncIterator, Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, Any, NamedTuple, NoReturn

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from app.database import Transaction, give_back
from app.errors import BadInput, TooLarge

MOST = 64 * 1024 * 1024
"""Bytes that are taken in one request."""
LONGEST = 2_000_000
"""Bytes that one line may have (characters, in a JSON list)."""
HELD = 1024 * 1024
"""Bytes of a request that are kept in memory rather than on disk."""
CHUNK = 64 * 1024
BLANK = re.compile(r"[ \t\n\r]*")
TOO_MUCH = "This is more than 64 MB. Send it in parts, or as JSON Lines with the command `pairloop import`."


class Entry(NamedTuple):
    """One line or list item: its value, or `why` it has none; `raw` is what was sent, cut where it is too long."""

    line: int
    value: Any
    raw: bytes
    why: str = ""
    size: int = 0
    """About how many bytes it takes, where `raw` does not show it."""
    row: Any = None
    """The row of a file that it was made of, where it was."""


async def spooled(request: Request, session: Transaction) -> AsyncIterator[IO[bytes]]:
    """The request's body as a file: in memory while it is small, on disk beyond; raises TooLarge after 64 MB.

    No connection is held while it arrives.
    """
    check_length(request)
    await run_in_threadpool(give_back, session)
    with SpooledTemporaryFile(HELD) as file:
        async for chunk in request.stream():
            if file.tell() + len(chunk) > MOST:
                raise TooLarge(TOO_MUCH)
            file.write(chunk)
        file.seek(0)
        yield file


def check_length(request: Request) -> None:
    """Raise TooLarge before anything is read where the request says itself that it is too long."""
    if int(request.headers.get("content-length") or 0) > MOST:
        raise TooLarge(TOO_MUCH)


Body = Annotated[IO[bytes], Depends(spooled, scope="function")]


def entries(file: IO[bytes]) -> Iterator[Entry]:
    """The entries of a JSON list or of JSON Lines, whichever the first non-blank byte says.

    Raises BadInput where there is nothing at all, or the file is UTF-16.
    """
    head = head_of(file)
    return _items(file) if head.startswith("[") else _lines(file)


def head_of(file: IO[bytes]) -> str:
    """The beginning, without blanks; leaves the file at its start, behind a byte order mark."""
    file.seek(0)
    start = file.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadInput("This is UTF-16. Save it as UTF-8 and send it again.")
    begin = len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0
    file.seek(begin)
    head = b""
    while not head and (chunk := file.read(CHUNK)):
        head = chunk.lstrip()
    if not head:
        raise BadInput("There is nothing in it. Send a JSON list, or JSON Lines with one prompt or comparison a line.")
    file.seek(begin)
    return head.decode(errors="replace")


def looks_like_json(head: str) -> bool:
    """Whether a paste that begins like this is meant as JSON; a sentence in quotation marks or brackets is not."""
    if re.match(r'\{\s*["}]|\[\s*["\[{\]]', head):
        return True
    try:
        return isinstance(json.loads(head.split("\n", 1)[0]), str)
    except ValueError:
        return False


def _lines(file: IO[bytes]) -> Iterator[Entry]:
    for number, raw, whole in raw_lines(file):
        if not whole:
            yield too_long(number, raw)
            continue
        try:
            yield Entry(number, _decoded(raw.decode()), raw)
        except UnicodeDecodeError as problem:
            yield Entry(number, None, raw, _not_utf8(problem))
        except (ValueError, RecursionError) as problem:
            yield Entry(number, None, raw, _not_json(problem))


def plain_lines(file: IO[bytes]) -> Iterator[Entry]:
    for number, raw, whole in raw_lines(file):
        try:
            yield Entry(number, raw.decode().strip(), raw) if whole else too_long(number, raw)
        except UnicodeDecodeError as problem:
            yield Entry(number, None, raw, _not_utf8(problem))


def raw_lines(file: IO[bytes], *, blank: bool = False) -> Iterator[tuple[int, bytes, bool]]:
    """Number and bytes of every line, and whether that is the whole line; `blank` ones only where asked for."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        whole = len(line) <= LONGEST or line.endswith(b"\n")
        ended = line.endswith(b"\n")
        while not ended and (rest := file.readline(CHUNK)):
            ended = rest.endswith(b"\n")
        if blank or line.strip():
            yield number, line.rstrip(b"\r\n"), whole


def _items(file: IO[bytes]) -> Iterator[Entry]:
    """The items of a JSON list, one at a time. Behind an item that is no JSON nothing can be told apart any more."""
    text = _Text(file)
    text.take()
    number, separator = 0, ","
    while separator == ",":
        number += 1
        if number == 1 and text.next_character() == "]":
            separator = text.take()
            break
        entry = text.item(number)
        yield entry
        if not entry.raw:
            return
        separator = text.take()
    if separator != "]":
        why = "There is no comma before this item" if separator else "The list has no closing bracket"
        yield Entry(number + 1, None, b"", f"{why}, so nothing from here on could be read.")
    elif text.next_character():
        yield Entry(number + 1, None, b"", "Something follows the end of the list; it was not read.")


class _Text:
    """The text of a file, a window of it at a time. Bytes that are not UTF-8 become lone surrogates."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self.text = ""
        self.at = 0
        self.ended = False

    def more(self, size: int = CHUNK) -> None:
        chunk = self.file.read(size)
        self.ended = not chunk
        self.text, self.at = self.text[self.at :] + self.decode(chunk, self.ended), 0

    def next_character(self) -> str:
        """The next character that is no white space, without taking it; "" at the end."""
        while True:
            blank = BLANK.match(self.text, self.at)
            self.at = blank.end() if blank else self.at
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self.more()

    def take(self) -> str:
        """Take the next character that is no white space; "" at the end."""
        character = self.next_character()
        self.at += 1
        return character

    def item(self, number: int) -> Entry:
        """Take the item that begins here; without `raw` where nobody can tell where it ends."""
        self.next_character()
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
                break
            except (ValueError, RecursionError) as problem:
                # It may only be cut off: twice as much is looked at each time, up to a few times the longest item.
                if self.ended or len(self.text) - self.at > 4 * LONGEST or isinstance(problem, RecursionError):
                    return Entry(
                        number, None, b"", f"{_not_json(problem, self.at)} Nothing from here on could be read."
                    )
            self.more(max(CHUNK, len(self.text) - self.at))
        raw, self.at = self.text[self.at : end].encode(errors="surrogateescape"), end
        if len(raw) > LONGEST:
            return too_long(number, raw)
        try:
            raw.decode()
        except UnicodeDecodeError as problem:
            return Entry(number, None, raw, _not_utf8(problem))
        return Entry(number, value, raw)


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


DECODER = json.JSONDecoder(parse_constant=_no_number)


def _decoded(text: str) -> Any:
    """What `DECODER.decode` says, without its search for white space where there is none."""
    try:
        value, end = DECODER.raw_decode(text)
    except ValueError:
        end = -1
    return value if end == len(text) else DECODER.decode(text)


def _not_json(problem: ValueError | RecursionError, start: int = 0) -> str:
    if isinstance(problem, RecursionError):
        return "This is nested too deeply."
    if isinstance(problem, json.JSONDecodeError):
        message = problem.msg[:1].lower() + problem.msg[1:]
        return f"This is not JSON: {message} at character {problem.pos - start + 1}."
    return "This has a number that is too long or is no JSON, such as NaN."


def _not_utf8(problem: UnicodeDecodeError) -> str:
    return f"This is not UTF-8: byte {problem.start + 1} begins no character. Save it as UTF-8."


def too_long(number: int, raw: bytes) -> Entry:
    return Entry(number, None, raw[:1000], "This is longer than 2 MB, the most that a prompt or a comparison may be.")
