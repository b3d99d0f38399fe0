"""Messages between the sandbox's processes: requests and reports, and frames of bytes."""

import os
from typing import NamedTuple, TypeVar

from snow_assets.runtime.sandbox_child import values

PASSED, FAILED, MEMORY, ENDED = "P", "F", "M", "E"
"""The first letter of the judge's output; the reason follows. ENDED: the program did not answer."""

READY = b"ready"
"""Written by a child once it is confined; any other content is the reason of a failure."""

STARTED = b"started\n"
"""The supervisor's first line; later errors are the program's failures, not the host's."""

MAX_FRAME_BYTES = 1 << 24
HEADER_BYTES = 8

_write, _read_some = os.write, os.read  # bound at import: a program may replace them in `os`


class Request(NamedTuple):
    """The supervisor's first frame on its standard input. It holds no test."""

    program: str
    folder: str  # exists, is empty, and belongs to the caller
    seccomp: str  # the filter as BPF, in hex
    lifeline: int  # a pipe's end that hangs up when the caller ends
    seconds: float
    memory_bytes: int
    folder_bytes: int
    threads: int
    open_files: int
    num_concurrent: int  # programs that may run at the same time, this one included
    packages: tuple[str, ...]  # folders of installed packages that the program may import
    file_name: str  # of a program in another language, which `commands` compile and run
    commands: tuple[tuple[str, ...], ...]  # empty: a Python program, tested by a judge
    marker: str  # what such a program prints after its tests


class FunctionTest(NamedTuple):
    """The second frame, which the judge reads and the program never holds."""

    entry_point: str  # the program's function that `candidate` calls; empty: none
    reference: str  # source of the benchmark's reference solution, which `source` may use
    source: str  # raises if `candidate` is wrong


class Report(NamedTuple):
    """The supervisor's last frame on its standard output."""

    refused: str = ""  # why nothing was run
    layers: tuple[str, ...] = ()  # beyond the baseline isolation
    stopped: str = ""  # why the supervisor stopped it: timeout, folder or abandoned
    status: int = 0  # of a program that ended before the test did, as returned by wait()
    test_outcome: str = ""  # the judge's letter; empty: none
    seconds: float = 0.0
    message: str = ""


Message = TypeVar("Message", Request, FunctionTest, Report)


def pack(message: Request | FunctionTest | Report) -> bytes:
    return values.encode(tuple(message))


def unpack(kind: type[Message], content: bytes) -> Message:
    """Decode a message of this kind; ValueError or TypeError for other content."""
    fields = values.decode(content)
    if not isinstance(fields, tuple):
        raise TypeError(f"a message is a tuple, not a {type(fields).__name__}")
    return kind(*fields)


class BrokenChannelError(Exception):
    """The peer closed the channel, or sent an invalid frame."""


def write_frame(descriptor: int, content: bytes) -> None:
    """Write a length and the content."""
    frame = memoryview(len(content).to_bytes(HEADER_BYTES, "big") + content)
    try:
        while frame:
            frame = frame[_write(descriptor, frame) :]
    except OSError as error:
        raise BrokenChannelError(f"the other end is closed: {error.strerror}") from error


def read_frame(descriptor: int, *, max_bytes: int = MAX_FRAME_BYTES) -> bytes:
    """Read a frame's content; BrokenChannelError at the end, for a truncated or oversized frame."""
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
