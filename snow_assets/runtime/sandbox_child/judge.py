"""The judge's process: run the test against a proxy of the tested program's function.

The test, the reference and all comparisons stay in this process. The proxy sends arguments as data
and returns decoded data (`values.py`), so no code and no class of the program is loaded. Once the
channel breaks or a value cannot be encoded, the outcome is "failed" whatever the test does.
Arguments are copies: the program's changes of them are not visible to the test.
"""

import builtins
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from snow_assets.runtime.sandbox_child import values
from snow_assets.runtime.sandbox_child.messages import (
    ENDED,
    FAILED,
    MEMORY,
    PASSED,
    BrokenChannelError,
    FunctionTest,
    read_frame,
    unpack,
    write_frame,
)
from snow_assets.runtime.sandbox_child.program import LOADED, RAISED, RETURNED, UNCROSSABLE

TEST_FILE = "<test>"
REASON_CHARS = 1000
NO_ANSWER = "the program ended, or closed its channel, before it answered"


class NoAnswerError(BaseException):
    """The program does not answer any more. Not an Exception, so that a test cannot catch it."""


class Candidate:
    """Proxy of the program's function. `failure`: letter and reason once the channel has failed."""

    def __init__(self, name: str, calls: int, answers: int) -> None:
        self.failure = ""
        self._name, self._calls, self._answers = name, calls, answers

    def request_load(self) -> None:
        self._send(b"")

    def wait_until_loaded(self) -> None:
        self._receive(LOADED)

    def function(self) -> Callable[..., object]:
        """The proxy function that the test calls."""

        def candidate(*args: object, **kwargs: object) -> object:
            self._send(values.encode((self._name, args, kwargs)))
            return self._receive(RETURNED)

        return candidate

    def _send(self, content: bytes) -> None:
        try:
            write_frame(self._calls, content)
        except BrokenChannelError:
            raise self._fail(NO_ANSWER, ENDED) from None

    def _receive(self, kind: str) -> object:
        """Receive the value of an answer of this kind; raise the exception of the program's."""
        match self._decode_answer():
            case (str(tag), value) if tag == kind:
                return value
            case (str(tag), str(name), str(text)) if tag == RAISED:
                raise _error(name, text[:REASON_CHARS])
            case (str(tag), str(reason)) if tag == UNCROSSABLE:
                raise self._fail(reason[:REASON_CHARS])
        raise self._fail("the program's answer is none of those that were agreed")

    def _decode_answer(self) -> object:
        try:
            return values.decode(read_frame(self._answers))
        except BrokenChannelError as error:
            raise self._fail(f"{NO_ANSWER}: {error}", ENDED) from None
        except (values.ValueCannotCrossError, RecursionError) as error:
            raise self._fail(f"the program's answer cannot be read: {error}") from None

    def _fail(self, reason: str, letter: str = FAILED) -> NoAnswerError:
        self.failure = self.failure or letter + reason
        return NoAnswerError(reason)


def _error(name: str, text: str) -> BaseException:
    """Create a built-in exception by its name; RuntimeError for unknown names and signatures."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        try:
            error: BaseException = kind(text)
        except TypeError:
            return RuntimeError(f"{name}: {text}")
        return error
    return RuntimeError(f"{name}: {text}")


def judge(tests: int, calls: int, answers: int) -> str:
    """Run the test; return the outcome's letter and the reason. `tests`: descriptor of the frame
    with the test."""
    test = unpack(FunctionTest, read_frame(tests, max_bytes=1 << 30))
    os.close(tests)
    candidate = Candidate(test.entry_point, calls, answers)
    namespace: dict[str, object] = {"__name__": TEST_FILE}
    error = None
    try:
        candidate.request_load()
        _execute(test.reference, "<reference>", namespace)
        if "random" in test.source:  # the outcome must not depend on random numbers
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
    """The error, with the line of the test that raised it."""
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


def report_outcome(tests: int, calls: int, answers: int, descriptor: int) -> NoReturn:
    """Run the test, write the outcome to the descriptor, and end the process."""
    content = judge(tests, calls, answers).encode(errors="replace")
    sys.stdout = sys.stderr = None
    os.write(descriptor, content[:4000])  # a pipe takes 4,096 bytes at once
    os._exit(0)
