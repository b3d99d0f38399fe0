"""The tested program's process: load the program and answer calls of its function.

The program may replace any code in this process, but that only changes the data that it sends to
the judge.
"""

import builtins
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

from snow_assets.runtime.sandbox_child import values
from snow_assets.runtime.sandbox_child.messages import read_frame, write_frame

HARNESS, PROGRAM_FILE = "snow_assets", "<program>"
LOADED, RETURNED, RAISED, UNCROSSABLE = "loaded", "returned", "raised", "uncrossable"

_with_traceback = BaseException.with_traceback
ExceptHook = Callable[[type[BaseException], BaseException, TracebackType | None], object]


def serve(source: str, calls: int, answers: int) -> NoReturn:
    """Run `source` as `__main__` after the judge's first frame, then answer its calls.

    A call is (name, args, kwargs); an answer (LOADED, None), (RETURNED, value),
    (RAISED, type's name, text) or (UNCROSSABLE, reason). Ends when the judge closes the channel.
    """
    end, excepthook, stderr = os._exit, sys.__excepthook__, sys.stderr
    for name in [name for name in sys.modules if name.split(".")[0] == HARNESS]:
        del sys.modules[name]
    sys.modules["__main__"] = main = type(sys)("__main__")
    try:
        read_frame(calls)
        write_frame(answers, _load(source, main.__dict__, excepthook, stderr))
        while True:
            call = values.decode(read_frame(calls))
            write_frame(answers, _call(call, main.__dict__, excepthook, stderr))
    finally:
        end(1)


def _load(source: str, namespace: dict[str, Any], excepthook: ExceptHook, stderr: object) -> bytes:
    try:
        exec(compile(source, PROGRAM_FILE, "exec", dont_inherit=True), namespace)  # noqa: S102
    except BaseException as error:  # noqa: BLE001  whatever the program raises is data
        return _encode_error(error, excepthook, stderr)
    return values.encode((LOADED, None))


def _call(call: Any, namespace: dict[str, Any], excepthook: ExceptHook, stderr: object) -> bytes:
    try:
        name, args, kwargs = call
        if name not in namespace:
            raise NameError(f"name {name!r} is not defined")
        result = namespace[name](*args, **kwargs)
    except BaseException as error:  # noqa: BLE001  whatever the program raises is data
        return _encode_error(error, excepthook, stderr)
    try:
        return values.encode((RETURNED, result))
    except values.ValueCannotCrossError as error:
        return values.encode((UNCROSSABLE, str(error)))
    except BaseException as error:  # noqa: BLE001  an iterator of the program's
        return _encode_error(error, excepthook, stderr)


def _encode_error(error: BaseException, excepthook: ExceptHook, stderr: object) -> bytes:
    """Encode the nearest built-in type and the text; print the traceback to stderr."""
    bases = [kind for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind]
    try:
        sys.stderr = stderr
        frames = error.__traceback__
        while frames and frames.tb_frame.f_code.co_filename != PROGRAM_FILE:
            frames = frames.tb_next
        error = _with_traceback(error, frames)
        excepthook(type(error), error, error.__traceback__)
        text = str(error)[:1000]
    except BaseException:  # noqa: BLE001  the program's __str__ may raise, too
        text = ""
    return values.encode((RAISED, bases[0].__name__, text))
