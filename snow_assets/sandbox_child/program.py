"""The tested program's process: load the program, answer calls of its function, nothing else.

Whatever runs here may be replaced by the program; all that it can change by that is the data that
it sends to the judge.
"""

import builtins
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

from snow_assets.sandbox_child import values
from snow_assets.sandbox_child.messages import read_frame, write_frame

HARNESS, PROGRAM_FILE = "snow_assets", "<program>"
LOADED, RETURNED, RAISED, UNCROSSABLE = "loaded", "returned", "raised", "uncrossable"

_with_traceback = BaseException.with_traceback
Show = Callable[[type[BaseException], BaseException, TracebackType | None], object]


def serve(source: str, calls: int, answers: int) -> NoReturn:
    """Run `source` as `__main__` when the judge's first frame comes, then answer its calls.

    A call is (name, args, kwargs); an answer (LOADED, None), (RETURNED, value),
    (RAISED, type's name, text) or (UNCROSSABLE, reason). Ends with the judge's end of the channel.
    """
    end, show, stderr = os._exit, sys.__excepthook__, sys.stderr
    for name in [name for name in sys.modules if name.split(".")[0] == HARNESS]:
        del sys.modules[name]
    sys.modules["__main__"] = main = type(sys)("__main__")
    try:
        read_frame(calls)
        write_frame(answers, _loaded(source, main.__dict__, show, stderr))
        while True:
            call = values.decode(read_frame(calls))
            write_frame(answers, _answer(call, main.__dict__, show, stderr))
    finally:
        end(1)


def _loaded(source: str, namespace: dict[str, Any], show: Show, stderr: object) -> bytes:
    try:
        exec(compile(source, PROGRAM_FILE, "exec", dont_inherit=True), namespace)  # noqa: S102
    except BaseException as error:  # noqa: BLE001  whatever the program raises is data
        return _raised(error, show, stderr)
    return values.encode((LOADED, None))


def _answer(call: Any, namespace: dict[str, Any], show: Show, stderr: object) -> bytes:
    try:
        name, args, kwargs = call
        if name not in namespace:
            raise NameError(f"name {name!r} is not defined")
        result = namespace[name](*args, **kwargs)
    except BaseException as error:  # noqa: BLE001  whatever the program raises is data
        return _raised(error, show, stderr)
    try:
        return values.encode((RETURNED, result))
    except values.ValueCannotCrossError as error:
        return values.encode((UNCROSSABLE, str(error)))
    except BaseException as error:  # noqa: BLE001  an iterator of the program's
        return _raised(error, show, stderr)


def _raised(error: BaseException, show: Show, stderr: object) -> bytes:
    """The nearest built-in type and the text; the traceback goes to the program's stderr."""
    bases = [kind for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind]
    try:
        sys.stderr = stderr
        frames = error.__traceback__
        while frames and frames.tb_frame.f_code.co_filename != PROGRAM_FILE:
            frames = frames.tb_next
        error = _with_traceback(error, frames)
        show(type(error), error, error.__traceback__)
        text = str(error)[:1000]
    except BaseException:  # noqa: BLE001  its text is the program's to compute, too
        text = ""
    return values.encode((RAISED, bases[0].__name__, text))
