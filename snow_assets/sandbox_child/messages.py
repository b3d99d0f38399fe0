"""What crosses between the sandbox's processes: requests and reports, and frames of bytes."""

import os
from typing import NamedTuple, TypeVar

from snow_assets.sandbox_child import values

PASSED, FAILED, MEMORY, ENDED = "P", "F", "M", "E"
"""The first letter that the judge writes; what follows says why. ENDED: no answer came."""

READY = b"ready"
"""What a child writes once it is confined; anything else says why it is not."""

STARTED = b"started\n"
"""The supervisor's first line; from here on nothing that goes wrong is the host's fault."""

MAX_FRAME_BYTES = 1 << 24
HEADER_BYTES = 8

_write, _read_some = os.write, os.read  # from before: a program may replace them


class Request(NamedTuple):
    """The supervisor's first frame on its standard input. It holds no test."""

    program: str
    folder: str  # exists, is empty, and belongs to whoever asks
    seccomp: str  # the filter as BPF, in hex
    lifeline: int  # a pipe's end that hangs up when whoever asks is gone
    seconds: float
    memory_bytes: int
    folder_bytes: int
    threads: int
    open_files: int


class FunctionTest(NamedTuple):
    """The second frame, which the judge reads and the program never holds."""

    entry_point: str  # the program's function that `candidate` calls; empty: none
    reference: str  # source of the benchmark's own that `source` may use
    source: str  # raises if `candidate` is wrong


class Report(NamedTuple):
    """The supervisor's last frame on its standard output."""

    refused: str = ""  # why nothing was run
    layers: tuple[str, ...] = ()  # beyond the floor
    stopped: str = ""  # by the watch, and why: timeout, folder or abandoned
    status: int = 0  # of a program that ended before its verdict, as wait() gives it
    verdict: str = ""  # the judge's letter; empty: it came to none
    seconds: float = 0.0
    message: str = ""


Message = TypeVar("Message", Request, FunctionTest, Report)


def packed(message: Request | FunctionTest | Report) -> bytes:
    return values.encode(tuple(message))


def unpacked(kind: type[Message], content: bytes) -> Message:
    """A message of this kind. ValueError or TypeError where the content is none."""
    fields = values.decode(content)
    if not isinstance(fields, tuple):
        raise TypeError(f"a message is a tuple, not a {type(fields).__name__}")
    return kind(*fields)


class BrokenChannelError(Exception):
    """The other end is closed, or sent what is no frame."""


def write_frame(descriptor: int, content: bytes) -> None:
    """Write a length and the content."""
    frame = memoryview(len(content).to_bytes(HEADER_BYTES, "big") + content)
    try:
        while frame:
            frame = frame[_write(descriptor, frame) :]
    except OSError as error:
        raise BrokenChannelError(f"the other end is closed: {error.strerror}") from error


def read_frame(descriptor: int, *, max_bytes: int = MAX_FRAME_BYTES) -> bytes:
    """One frame's content. BrokenChannelError at the end, for a cut frame and a longer one."""
    size = int.from_bytes(_read(descriptor, HEADER_BYTES), "big")
    if size > max_bytes:
        raise BrokenChannelError(f"a value of {size} bytes is more than the {max_bytes} that cross")
    return _read(descriptor, size)


def _read(descriptor: int, size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        try:
            chunk = _read_some(descriptor, min(size - len(content), 1 << 20))
        except OSError as error:
            raise BrokenChannelError(f"the channel cannot be read: {error.strerror}") from error
        if not chunk:
            raise BrokenChannelError("the other end is closed")
        content += chunk
    return bytes(content)
