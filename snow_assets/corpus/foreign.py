"""Parsers of foreign bytes: whatever one raises becomes a `ParserFailure`, not a source's end.

Readers call `parse_foreign` once per file, row or archive member. Python's own limits (nesting,
digits of an integer) and a limit of CPU time count as failures of the bytes; memory is bounded by
the size of what is handed to the parser. What says nothing about the bytes is passed on: a storage
that cannot be read is a `StorageError`.
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
"""User CPU time that one parser may take; the slowest honest file takes about one second."""
_MAX_EVIDENCE_CHARS = 300


class StorageError(Exception):
    """Stored bytes could not be read, which says nothing about the bytes."""


class _CpuLimitError(Exception):
    """A parser ran into its limit of CPU time."""


@dataclass(frozen=True)
class ParserFailure:
    """What a parser raised, as text: one line, printable, at most 300 characters."""

    evidence: str


def parse_foreign(
    parse: Callable[[], _T], *, cpu_seconds: float | None = CPU_SECONDS
) -> _T | ParserFailure:
    """Call a parser of foreign bytes; any exception, memory or time limit is a ParserFailure.

    The time limit holds in a process's main thread, where all readers of the product run.
    """
    try:
        with _cpu_limit(cpu_seconds):
            return parse()
    except StorageError:
        raise
    # The one wrapper around foreign bytes: nobody can list what parsers raise for hostile input.
    except Exception as error:  # noqa: BLE001
        return ParserFailure(described(error))


def iterate_foreign(
    items: Iterator[_T], *, cpu_seconds: float | None = CPU_SECONDS
) -> Iterator[_T | ParserFailure]:
    """Items of a parser of foreign bytes; if it fails, the failure is the last item."""
    end = object()
    while True:
        item = parse_foreign(lambda: next(items, end), cpu_seconds=cpu_seconds)
        if item is end:
            return
        yield item  # type: ignore[misc]  # not `end`
        if isinstance(item, ParserFailure):
            return


def described(error: BaseException) -> str:
    """An exception as evidence: its type and message."""
    return printable(f"{type(error).__name__}: {error}", max_chars=_MAX_EVIDENCE_CHARS)


def is_printable(name: str) -> bool:
    """Whether a foreign name is printable text: no control character, no lone surrogate."""
    return name.isprintable() or all(map(_is_printable, name))


def printable(text: str, *, max_chars: int = 512) -> str:
    """Foreign text as plain data: what is not printable is escaped, what is longer is cut."""
    if text.isprintable() and len(text) <= max_chars:
        return text
    escaped = text[: max_chars + 1].encode("utf-8", "backslashreplace").decode()
    return "".join(c if _is_printable(c) else f"\\x{ord(c):02x}" for c in escaped)[:max_chars]


def _is_printable(character: str) -> bool:
    # Python counts all spaces but ASCII's as not printable; names of Asian languages hold them.
    return character.isprintable() or unicodedata.category(character) == "Zs"


@contextmanager
def _cpu_limit(seconds: float | None) -> Iterator[None]:
    """Raise _CpuLimitError in the main thread after so much user CPU time of the process.

    CPU time, not wall-clock time, so that a busy machine refuses no file. An inner limit within an
    outer one adds nothing.
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
