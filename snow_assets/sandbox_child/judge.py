"""The judge's process: run the test against a stand-in for the tested program's function.

The test, the reference and all comparisons stay here. The stand-in sends arguments as data and
returns decoded data (`values.py`), so no code and no class of the program gets here. Once the
channel breaks or a value cannot cross, the verdict is "failed" whatever the test does with it.
Arguments are copies: what the program does to its own is not visible to the test.
"""

import builtins
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from snow_assets.sandbox_child import values
from snow_assets.sandbox_child.messages import (
    ENDED,
    FAILED,
    MEMORY,
    PASSED,
    BrokenChannelError,
    FunctionTest,
    read_frame,
    unpacked,
    write_frame,
)
from snow_assets.sandbox_child.program import LOADED, RAISED, RETURNED, UNCROSSABLE

TEST_FILE = "<test>"
REASON_CHARS = 1000
NO_ANSWER = "the program ended, or closed its channel, before it answered"


class NoAnswerError(BaseException):
    """The program cannot be asked any more. No Exception, so that a test does not catch it."""


class Candidate:
    """Calls of the program's function. `failure`: the only verdict that is possible any more."""

    def __init__(self, name: str, calls: int, answers: int) -> None:
        self.failure = ""
        self._name, self._calls, self._answers = name, calls, answers

    def ask_to_load(self) -> None:
        self._send(b"")

    def wait_until_loaded(self) -> None:
        self._receive(LOADED)

    def function(self) -> Callable[..., object]:
        """What the test calls in place of the program's function."""

        def candidate(*args: object, **kwargs: object) -> object:
            self._send(values.encode((self._name, args, kwargs)))
            return self._receive(RETURNED)

        return candidate

    def _send(self, content: bytes) -> None:
        try:
            write_frame(self._calls, content)
        except BrokenChannelError:
            raise self._failed(NO_ANSWER, ENDED) from None

    def _receive(self, kind: str) -> object:
        """The value of an answer of this kind; raises what the program raised."""
        match self._decoded():
            case (str(tag), value) if tag == kind:
                return value
            case (str(tag), str(name), str(text)) if tag == RAISED:
                raise _error(name, text[:REASON_CHARS])
            case (str(tag), str(reason)) if tag == UNCROSSABLE:
                raise self._failed(reason[:REASON_CHARS])
        raise self._failed("the program's answer is none of those that were agreed")

    def _decoded(self) -> object:
        try:
            return values.decode(read_frame(self._answers))
        except BrokenChannelError as error:
            raise self._failed(f"{NO_ANSWER}: {error}", ENDED) from None
        except (values.ValueCannotCrossError, RecursionError) as error:
            raise self._failed(f"the program's answer cannot be read: {error}") from None

    def _failed(self, reason: str, letter: str = FAILED) -> NoAnswerError:
        self.failure = self.failure or letter + reason
        return NoAnswerError(reason)


def _error(name: str, text: str) -> BaseException:
    """A built-in exception by its name; RuntimeError where there is none that takes a text."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        try:
            error: BaseException = kind(text)
        except TypeError:
            return RuntimeError(f"{name}: {text}")
        return error
    return RuntimeError(f"{name}: {text}")


def judge(tests: int, calls: int, answers: int) -> str:
    """The verdict's letter, and the reason; `tests`: where the frame with the test is read."""
    test = unpacked(FunctionTest, read_frame(tests, max_bytes=1 << 30))
    os.close(tests)
    candidate = Candidate(test.entry_point, calls, answers)
    namespace: dict[str, object] = {"__name__": TEST_FILE}
    error = None
    try:
        candidate.ask_to_load()
        _execute(test.reference, "<reference>", namespace)
        if "random" in test.source:  # a verdict must not depend on what a test draws
            _execute("import random\nrandom.seed(0)\ndel random", TEST_FILE, {})
        candidate.wait_until_loaded()
        namespace["candidate"] = candidate.function()
        _execute(test.source, TEST_FILE, namespace)
    except BaseException as raised:  # noqa: BLE001  any end but the test's last line is a failure
        error = raised
    if candidate.failure:
        return candidate.failure
    if error is None:
        return PASSED
    return (MEMORY if isinstance(error, MemoryError) else FAILED) + _reason(error)


def _execute(source: str, name: str, namespace: dict[str, object]) -> None:
    exec(compile(source, name, "exec", dont_inherit=True), namespace)  # noqa: S102


def _reason(error: BaseException) -> str:
    """The error, and the line of the test that it came from."""
    line, frames = 0, error.__traceback__
    while frames:
        if frames.tb_frame.f_code.co_filename == TEST_FILE:
            line = frames.tb_lineno
        frames = frames.tb_next
    try:
        text = f"{type(error).__name__}: {error}".removesuffix(": ")[:REASON_CHARS]
    except ValueError:  # an integer with too many digits to print
        text = type(error).__name__
    return f"line {line} of the test: {text}" if line else text


def report_verdict(tests: int, calls: int, answers: int, verdict: int) -> NoReturn:
    """Judge, write the verdict, and end the process."""
    content = judge(tests, calls, answers).encode(errors="replace")
    sys.stdout = sys.stderr = None
    os.write(verdict, content[:4000])  # a pipe takes 4,096 bytes at once
    os._exit(0)
