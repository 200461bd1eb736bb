"""Zip archives of arrays, read as if an enemy had written them.

What an archive declares is checked against the size of its file before memory is taken: names stand once, members
neither overlap nor reach beyond the file, and what is compressed may not grow beyond reason.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

RATIO = 100  # nothing but zeros is compressed further by deflate, whose limit is 1032
ALWAYS = 64 << 20  # bytes that may come out of any file

# What the standard library raises for bytes that make no sense.
_BROKEN = (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, struct.error, EOFError)
_ABSURD = (ValueError, TypeError, LookupError, RuntimeError, MemoryError, OverflowError)


class Bounded:
    """A file for readers that ask for as many bytes as the file tells them to: no more than there are is taken."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END)
        file.seek(0)
        self.tell, self.seekable = file.tell, file.seekable

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the file."""
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            raise io.UnsupportedOperation(
                f"it points to {offset} bytes, where nothing is"
            ) from error  # a ValueError too

    def left(self) -> int:
        """How many bytes follow."""
        return max(self.size - self.tell(), 0)

    def read(self, n: int = -1) -> bytes:
        """Read at most `n` bytes, or all that follow."""
        return self._file.read(self.left() if n is None or n < 0 else min(n, self.left()))

    def readline(self, n: int = 1024) -> bytes:
        """Read a line, of at most `n` bytes."""
        return self._file.readline(n)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Bounded]:
    """Open a file whose content is not trusted; what is found broken is a ValueError that names the file."""
    path = Path(path)
    with path.open("rb") as file:
        try:
            yield Bounded(file)
        except (*_BROKEN, *_ABSURD) as error:
            raise ValueError(f"{path} is broken: {str(error) or type(error).__name__}") from error


def check_growth(declared: int, stored: int) -> None:
    """Refuse what would grow beyond reason when it is uncompressed."""
    if declared > max(RATIO * stored, ALWAYS):
        raise ValueError(f"{stored} bytes would grow to {declared}, more than {RATIO} times as many")


class Archive:
    """The members of a zip file.

    Parameters
    ----------
    file : Bounded
        As `opened` gives it.
    compressed : bool
        Whether members may be compressed.
    """

    def __init__(self, file: Bounded, compressed: bool) -> None:
        self._zip = zipfile.ZipFile(file)
        self.members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            name = member.filename
            if name in self.members:
                raise ValueError(f"{name!r} is there twice")
            if member.flag_bits & 1:
                raise ValueError(f"{name!r} is encrypted")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[: 1 + compressed]:
                raise ValueError(f"{name!r} is compressed by a method that is not taken here")
            if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
                raise ValueError(f"{name!r} has two sizes, {member.file_size} and {member.compress_size} bytes")
            self.members[name] = member
        stored = sum(member.compress_size for member in self.members.values())
        if stored > file.size:
            raise ValueError(f"its members hold {stored} bytes, the file {file.size}")
        check_growth(sum(member.file_size for member in self.members.values()), file.size)

    def size(self, name: str) -> int:
        """Bytes of a member, uncompressed."""
        return self.members[name].file_size

    def open(self, name: str) -> IO[bytes]:
        """The member as a file to read from."""
        return self._zip.open(self.members[name])

    def read(self, name: str) -> np.ndarray:
        """All bytes of a member, in memory of their own."""
        data = np.empty(self.size(name), np.uint8)
        with self.open(name) as stream:
            fill(stream, data)
            if stream.read(1):
                raise ValueError(f"{name!r} is longer than it says")
        return data


def fill(stream: IO[bytes] | Bounded, data: np.ndarray) -> None:
    """Fill bytes from a stream, a piece at a time."""
    for start in range(0, data.size, 1 << 20):
        piece = data[start : start + (1 << 20)]
        read = stream.read(piece.size)
        if len(read) != piece.size:
            raise ValueError(f"it ends {piece.size - len(read)} bytes too early")
        piece[...] = np.frombuffer(read, np.uint8)
