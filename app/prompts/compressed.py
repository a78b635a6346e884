"""Compressed text, expanded as it is read; what expands beyond reason is refused."""

import io
from typing import IO, Any

import pyarrow as pa

from app.errors import BadInput
from app.languages import _
from app.prompts.bodies import CHUNK

KINDS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
"""The first bytes of each."""
EXPANDED_MOST = 64 * 1024**3
"""Bytes of text that one file may hold."""
RATIO = 100
"""How many times larger than the file its text may be, once it is larger than FREE; tables stay below 30."""
FREE = 64 * 1024**2


def kind_of(head: bytes) -> str:
    """How a file that begins like this is compressed; "" where it is not."""
    return next((kind for mark, kind in KINDS.items() if head.startswith(mark)), "")


class Expanded(io.RawIOBase):
    """A compressed file as its text: read forward, and from its start again as often as wanted.

    Reading raises BadInput where the file is damaged or cut off, or its text is too long for it.
    """

    def __init__(self, file: IO[bytes], kind: str) -> None:
        self.file = file
        self.kind = kind
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        if offset < getattr(self, "at", 1):
            self.file.seek(0)
            self.stream = pa.CompressedInputStream(pa.PythonFile(_Kept(self.file), mode="r"), self.kind)
            self.at = 0
        while self.at < offset and (piece := self._piece(min(CHUNK, offset - self.at))):
            self.at += len(piece)
        return self.at

    def readinto(self, buffer: Any) -> int:
        piece = self._piece(len(buffer))
        buffer[: len(piece)] = piece
        self.at += len(piece)
        return len(piece)

    def _piece(self, size: int) -> bytes:
        try:
            piece: bytes = self.stream.read(size)
        except (OSError, pa.ArrowException) as problem:
            raise BadInput(
                _("This compressed file is damaged or cut off. Compress it again, or send the file inside it.")
            ) from problem
        expanded = self.at + len(piece)
        if expanded > FREE and (expanded > EXPANDED_MOST or expanded > RATIO * self.file.tell()):
            raise BadInput(
                _(
                    "This compressed file grows to more than {ratio} times its size, so it was not read. "
                    "Send the file inside it."
                ).format(ratio=RATIO)
            )
        return piece


class _Kept(io.RawIOBase):
    """The file for a reader that closes what it reads when it goes: this is closed in its place."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size)

    def tell(self) -> int:
        return self.file.tell()
