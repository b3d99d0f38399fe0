"""Programs with a wrong function that try to be judged right. None of them may pass.

The tested function is `add`; every program below computes it wrongly, and knows all of this code.
"""

import textwrap

import pytest

from snow_assets.runtime import sandbox
from snow_assets.runtime.sandbox import ExecutionResult, FunctionTest, Limits
from tests.sandbox.programs import needs_floor

pytestmark = needs_floor

LIMITS = Limits(seconds=15.0)
REFERENCE = "def add(a, b):\n    return a + b\n\ndef total(values):\n    return sum(values)\n"
SOURCE = """
SECRET_OF_THE_TEST = 'reaches nobody'

def check(candidate):
    assert candidate(1, 2) == 3
    assert total([candidate(2, 2), 1]) == 5
    assert abs(candidate(0.5, 0.25) - 0.75) < 1e-9
    assert candidate([1], [2]) == [1, 2]

check(candidate)
"""
ADD = FunctionTest(entry_point="add", reference=REFERENCE, source=SOURCE)


def judged(program: str, test: FunctionTest = ADD, limits: Limits = LIMITS) -> ExecutionResult:
    return sandbox.run(textwrap.dedent(program), limits=limits, test=test)


def test_a_right_function_passes() -> None:
    assert judged("def add(a, b):\n    return a + b").outcome == "passed"


def test_a_wrong_function_fails_with_the_line_of_the_test() -> None:
    outcome = judged("def add(a, b):\n    return a - b")
    assert outcome.outcome == "failed"
    assert outcome.message == "line 5 of the test: AssertionError"


EQUAL = "\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
EQUAL += "    __hash__ = object.__hash__\n"
FRAME = "import os\ndef send(content, size=None):\n"
FRAME += "    head = (len(content) if size is None else size).to_bytes(8, 'big')\n"
FRAME += "    for fd in range(3, 64):\n        try: os.write(fd, head + content)\n"
FRAME += "        except OSError: pass\n"

ACTS = {
    "an object that equals everything": f"class A:{EQUAL}\ndef add(a, b): return A()",
    "a list that equals everything": f"class A(list):{EQUAL}\ndef add(a, b): return A()",
    "an int that equals everything": f"class A(int):{EQUAL}\ndef add(a, b): return A(0)",
    "a float that equals everything": f"class A(float):{EQUAL}\ndef add(a, b): return A(9)",
    "a tuple that equals everything": f"class A(tuple):{EQUAL}\ndef add(a, b): return A()",
    "a dict that equals everything": f"class A(dict):{EQUAL}\ndef add(a, b): return A()",
    "a str that equals everything": f"class A(str):{EQUAL}\ndef add(a, b): return A()",
    "an equal object inside a list": f"class A:{EQUAL}\ndef add(a, b): return [A(), A()]",
    "an int whose index lies": "class A(int):\n    def __index__(self): return 3\n"
    "def add(a, b): return A(0)",
    "a class that says it is int": "class A:\n    __class__ = int\n    def __eq__(s, o): return 1\n"
    "def add(a, b): return A()",
    "a reflected operator": "class A(float):\n    def __rsub__(s, o): return 0.0\n"
    "    def __sub__(s, o): return 0.0\n    def __eq__(s, o): return True\n"
    "def add(a, b): return A(7)",
    "not a number": "def add(a, b): return float('nan')",
    "infinity": "def add(a, b): return float('inf')",
    "a pickle that runs code": "class A:\n    def __reduce__(self): return (print, ('x',))\n"
    "def add(a, b): return A()",
    "exit in the call": "import sys\ndef add(a, b): sys.exit(0)",
    "exit at once in the call": "import os\ndef add(a, b): os._exit(0)",
    "exit while loading": "import os\nos._exit(0)",
    "SystemExit while loading": "raise SystemExit(0)",
    "an interrupt": "def add(a, b): raise KeyboardInterrupt",
    "the end of a generator": "def add(a, b): raise StopIteration",
    "GeneratorExit": "def add(a, b): raise GeneratorExit",
    "an exception that is none of ours": "class A(BaseException):\n"
    "    def __str__(self): raise SystemExit(0)\ndef add(a, b): raise A",
    "an exception whose class claims a name": "A = type('SystemExit', (BaseException,), {})\n"
    "def add(a, b): raise A(0)",
    "success printed": "def add(a, b):\n    print('P passed', flush=True)\n    return 0",
    "success written to each descriptor": "import os\ndef add(a, b):\n"
    "    for fd in range(64):\n        try: os.write(fd, b'P')\n"
    "        except OSError: pass\n    os._exit(0)",
    "success as a frame": FRAME + "def add(a, b):\n    send(b'P')\n    return 0",
    "bytes that are no text": FRAME + "def add(a, b):\n    send(b'\\xff\\xfe' * 99)\n    return 0",
    "a frame without end": FRAME + "def add(a, b):\n    send(b'x', 1 << 62)\n    os._exit(0)",
    "a frame that is cut": FRAME + "def add(a, b):\n    send(b'x', 100)\n    os._exit(0)",
    "an empty frame": FRAME + "def add(a, b):\n    send(b'')\n    return 3",
    "a frame of nested lists": FRAME
    + "def add(a, b):\n    send((b'l' + (1).to_bytes(8, 'big')) * 10 ** 5 + b'N')\n    return 3",
    "a frame with an unhashable key": FRAME
    + "def add(a, b):\n    send(b'S' + (1).to_bytes(8, 'big') + b'l' + bytes(8))\n    return 3",
    "all descriptors closed": "import os\ndef add(a, b):\n    os.closerange(0, 64)\n    return 3",
    "descriptors mixed up": "import os\ndef add(a, b):\n"
    "    for fd in range(3, 6):\n        try: os.dup2(fd, 0); os.dup2(1, fd)\n"
    "        except OSError: pass\n    return 0",
    "a thread that writes answers": FRAME + "import threading\n"
    "def flood():\n    while True: send(b'N')\n"
    "def add(a, b):\n    threading.Thread(target=flood).start()\n    return 0",
    "a program's own check": "def check(candidate): pass\ndef add(a, b): return 0",
    "a program's own candidate": "candidate = lambda a, b: a + b\ndef add(a, b): return 0",
    "a program's own helper of the test": "def total(values): return 5\n"
    "def add(a, b): return {(1, 2): 3, (0.5, 0.25): 0.75}.get((a, b) if a is not list else 0, 0) "
    "if not isinstance(a, list) else [1, 2]",
    "builtins replaced": "import builtins\nbuiltins.AssertionError = type('A', (), {})\n"
    "builtins.abs = lambda x: 0\nbuiltins.sum = lambda x: 5\nbuiltins.exec = print\n"
    "builtins.compile = lambda *a, **k: None\ndef add(a, b): return 0",
    "modules replaced": "import sys, types\n"
    "for name in ('values', 'judge', 'program', 'supervisor', 'messages'):\n"
    "    fake = types.ModuleType(name)\n    fake.encode = fake.decode = lambda *a: b'P'\n"
    "    sys.modules['snow_assets.runtime.sandbox_child.' + name] = fake\ndef add(a, b): return 0",
    "functions of the harness replaced": "import gc, types\n"
    "for f in [o for o in gc.get_objects() if isinstance(o, types.FunctionType)]:\n"
    "    if f.__name__ in ('judge', '_decode_answer', '_receive', '_reason', 'report_outcome'):\n"
    "        f.__code__ = (lambda *a, **k: 'P').__code__.replace(co_freevars=())\n"
    "def add(a, b): return 0",
    "locals of the frames changed": "import sys, ctypes\ndef add(a, b):\n"
    "    frame = sys._getframe()\n    while frame:\n"
    "        frame.f_globals.update(PASSED='P', FAILED='P', MEMORY='P', ENDED='P')\n"
    "        for name in frame.f_locals: frame.f_locals[name] = 3\n"
    "        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), 0)\n"
    "        frame = frame.f_back\n    return 0",
    "a trace function": "import sys\ndef trace(frame, event, argument):\n"
    "    frame.f_trace_lines = False\n    return trace\nsys.settrace(trace)\n"
    "def add(a, b): return 0",
    "hooks for the end": "import atexit, sys, os\natexit.register(lambda: os._exit(0))\n"
    "sys.excepthook = lambda *a: os._exit(0)\nsys.exit = lambda *a: None\n"
    "def add(a, b): return 0",
    "the interpreter's exit replaced": "import os\nend = os._exit\n"
    "os._exit = lambda code: end(0)\ndef add(a, b): raise ValueError",
    "modules for the judge in the folder": "for name in ('random', 'math', 'struct', 'json'):\n"
    "    open(name + '.py', 'w').write('import os; os.write(1, b\"P\"); os._exit(0)')\n"
    "def add(a, b): return 0",
    "arguments changed until they agree": "def add(a, b):\n    if isinstance(a, list):\n"
    "        a.clear(); b.clear()\n    return []",
    "a signal to itself": "import signal, time\ndef add(a, b):\n    signal.alarm(1)\n"
    "    time.sleep(30)",
    "a crash": "import ctypes\ndef add(a, b): return ctypes.string_at(1)",
    "the stack used up": "import sys\nsys.setrecursionlimit(10 ** 9)\n"
    "def add(a, b): return sorted([1, 2], key=lambda x: add(x, x))",
    "memory used up": "def add(a, b): return bytearray(10 ** 11)",
    "a value of 30 megabytes": "def add(a, b): return bytes(3 * 10 ** 7)",
    "an endless iterator": "import itertools\ndef add(a, b): return itertools.count()",
    "a value that contains itself": "x = []\nx.append(x)\ndef add(a, b): return x",
    "a generator that ends the program": "import os\ndef add(a, b):\n    yield 1\n    os._exit(0)",
    "no function": "add = 3",
    "no name": "def other(a, b): return a + b",
    "a class in its place": f"class add:{EQUAL}\n    def __init__(self, a, b): pass",
    "a name from a mapping that agrees": "import sys\nclass N(dict):\n"
    "    def __missing__(self, key): return 3\nsys.modules['__main__'].__dict__.update(N())\n"
    "del sys.modules['__main__']",
    "no syntax": "def add(a, b:",
}
ENDS = {
    "a signal to itself": "killed",
    "a crash": "killed",
    "the stack used up": "killed",
    "memory used up": "memory",
}


@pytest.mark.parametrize("act", ACTS)
def test_a_wrong_function_does_not_pass_by(act: str) -> None:
    outcome = judged(ACTS[act])
    assert outcome.outcome == ENDS.get(act, "failed"), outcome


def test_the_test_is_nowhere_in_the_program_s_process() -> None:
    """Neither among its objects nor in the memory around them, where its own text is."""
    outcome = judged(
        """
        import ctypes, gc, re
        arenas = {id(thing) >> 18 << 18 for thing in gc.get_objects()}
        libc, resident = ctypes.CDLL(None), ctypes.create_string_buffer(1)
        libc.sbrk.restype = ctypes.c_void_p
        arenas |= {(libc.sbrk(0) >> 18 << 18) - n * 2 ** 18 for n in range(64)}
        pages = []
        for page in (arena + n * 4096 for arena in sorted(arenas) for n in range(64)):
            if libc.mincore(ctypes.c_void_p(page), ctypes.c_size_t(4096), resident) == 0:
                pages.append(ctypes.string_at(page, 4096))
        memory = b"".join(pages)
        def is_there(beginning, backwards):  # no object here may hold what is looked for
            ends = [p.end() for p in re.finditer(beginning, memory)]
            return any(memory[end : end + len(backwards)][::-1] == backwards for end in ends)
        print("own text:", is_there(b"this ve", b"margorp yr"))
        print("test's text:", is_there(b"SECRET_", b"TSET_EHT_FO"), flush=True)
        "this very program"
        def add(a, b): return 0
    """,
        limits=Limits(seconds=30.0),
    )
    assert outcome.outcome == "failed"
    assert outcome.message.startswith("own text: True\ntest's text: False\n"), outcome


def test_a_test_cannot_hide_a_broken_channel() -> None:
    test = FunctionTest(
        entry_point="add", reference="", source="try:\n    candidate(1, 2)\nexcept:\n    pass\n"
    )
    for program in ("import os\ndef add(a, b): os._exit(0)", "def add(a, b): return object()"):
        assert judged(program, test).outcome == "failed"


def test_what_cannot_cross_is_named() -> None:
    message = judged("class Sum: pass\ndef add(a, b): return Sum()").message
    assert message == "a value of type Sum cannot cross: return plain Python values"


def test_a_built_in_exception_reaches_the_test_by_its_type() -> None:
    source = """
try:
    candidate(1, 'a')
except TypeError as error:
    assert 'unsupported operand' in str(error)
else:
    raise AssertionError
"""
    test = FunctionTest(entry_point="add", reference="", source=source)
    assert judged("def add(a, b):\n    return a + b", test).outcome == "passed"
    assert judged("def add(a, b):\n    return 3", test).outcome == "failed"


def test_calls_share_the_program_s_state_and_arguments_are_copies() -> None:
    source = """
values = [3, 1]
assert candidate(values) == 1
assert candidate(values, ascending=False) == 2
assert values == [3, 1]
"""
    program = """
        num_calls = 0
        def sort(values, ascending=True):
            global num_calls
            num_calls += 1
            values.sort()
            return num_calls
    """
    assert judged(program, FunctionTest("sort", "", source)).outcome == "passed"


def test_what_a_test_draws_is_the_same_each_time() -> None:
    source = "import random\nassert candidate(random.random())"
    program = "def f(x):\n    print(x, flush=True)\n    return True"
    drawn = {judged(program, FunctionTest("f", "", source)).message for _ in range(3)}
    assert len(drawn) == 1


def test_the_order_of_a_set_is_the_same_each_time() -> None:
    program = "print(list({'kiwi', 'plum', 'fig', 'pear', 'lime', 'date'}), flush=True)"
    printed = {judged(program, FunctionTest("", "", "")).message for _ in range(4)}
    assert len(printed) == 1
