"""Parse untrusted bytes: any exception of a parser becomes a `ParserFailure`.

Readers call `parse_untrusted` once per file, row or archive member. Python's limits (nesting,
digits of an integer) and a limit of CPU time count as failures of the bytes; memory is bounded by
the size of the parser's input. Errors of the storage are raised as `StorageError`, since they are
not caused by the bytes.
"""

import signal
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TypeVar

_T = TypeVar("_T")

CPU_SECONDS = 60.0
"""Limit of a parser's user CPU time; the slowest regular file takes about one second."""
_MAX_EVIDENCE_CHARS = 300


class StorageError(Exception):
    """The storage failed to return bytes, which is no failure of the bytes themselves."""


class _CpuLimitError(Exception):
    """A parser exceeded its limit of CPU time."""


@dataclass(frozen=True)
class ParserFailure:
    """A parser's exception as text: one line, printable, at most 300 characters."""

    evidence: str


def parse_untrusted(
    parse: Callable[[], _T], *, cpu_seconds: float | None = CPU_SECONDS
) -> _T | ParserFailure:
    """Call a parser of untrusted bytes; return a ParserFailure for any exception or exceeded limit.

    The time limit only works in a process's main thread, where all readers of the product run.
    """
    try:
        with _cpu_limit(cpu_seconds):
            return parse()
    except StorageError:
        raise
    # The exceptions of parsers for hostile input cannot be enumerated.
    except Exception as error:  # noqa: BLE001
        return ParserFailure(describe_error(error))


def iterate_untrusted(
    items: Iterator[_T], *, cpu_seconds: float | None = CPU_SECONDS
) -> Iterator[_T | ParserFailure]:
    """Yield the items of a parser of untrusted bytes; a failure is the last item."""
    end = object()
    while True:
        item = parse_untrusted(lambda: next(items, end), cpu_seconds=cpu_seconds)
        if item is end:
            return
        yield item  # type: ignore[misc]  # not `end`
        if isinstance(item, ParserFailure):
            return


def describe_error(error: BaseException) -> str:
    """Format an exception's type and message as evidence."""
    return printable(f"{type(error).__name__}: {error}", max_chars=_MAX_EVIDENCE_CHARS)


def is_printable(name: str) -> bool:
    """Whether an untrusted name is printable: no control character, no lone surrogate."""
    return name.isprintable() or all(map(_is_printable, name))


def printable(text: str, *, max_chars: int = 512) -> str:
    """Escape unprintable characters of untrusted text, and truncate it."""
    if text.isprintable() and len(text) <= max_chars:
        return text
    escaped = text[: max_chars + 1].encode("utf-8", "backslashreplace").decode()
    return "".join(c if _is_printable(c) else f"\\x{ord(c):02x}" for c in escaped)[:max_chars]


def _is_printable(character: str) -> bool:
    # Python counts all spaces but ASCII's as not printable; names of Asian languages hold them.
    return character.isprintable() or unicodedata.category(character) == "Zs"


@contextmanager
def _cpu_limit(seconds: float | None) -> Iterator[None]:
    """Raise _CpuLimitError in the main thread after `seconds` of the process's user CPU time.

    CPU time, not wall-clock time, so that the machine's load does not matter. A nested limit has no
    effect.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if seconds is None or not is_main or signal.getitimer(signal.ITIMER_VIRTUAL)[0] > 0:
        yield
        return

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _CpuLimitError(f"took over {seconds:g} seconds of CPU time")

    previous = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)
