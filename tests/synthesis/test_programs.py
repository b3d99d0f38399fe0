"""Generated files run in the real sandbox, with their tests, if it has what they need."""

from pathlib import Path

import pytest

from snow_assets.runtime import sandbox
from snow_assets.synthesis import execution
from snow_assets.synthesis.contract import FileExecution, FileExecutionRequest
from snow_assets.synthesis.programs import program, runnability
from tests.sandbox.programs import needs_floor
from tests.synthesis.builders import Progress

ADD = "def add(a, b):\n    return a + b\n"
PASSING = {
    "a main that exits with 0": (
        "import sys\ndef main():\n    print('hi')\n    return 0\n"
        "if __name__ == '__main__':\n    sys.exit(main())\n"
    ),
    "definitions alone": ADD,
    "a future statement and a data class": (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Point:\n    x: int\nassert Point(1).x == 1\n"
    ),
    "a test function": f"{ADD}def test_add():\n    assert add(1, 2) == 3\n",
    "a test case that the file runs itself": (
        "import unittest\nclass Checks(unittest.TestCase):\n    def test_one(self):\n"
        "        self.assertEqual(1, 1)\nif __name__ == '__main__':\n    unittest.main()\n"
    ),
    "a doctest": 'def add(a, b):\n    """Sum.\n\n    >>> add(1, 2)\n    3\n    """\n    return 3\n',
    "a call of exit": "exit()\n",
    "a call of quit in a thread pool": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor() as pool:\n    assert list(pool.map(abs, [-1])) == [1]\nquit(0)\n"
    ),
}
CASE = "import unittest\nclass Checks(unittest.TestCase):\n"
NUM_TESTS = {
    "a test function and a doctest": (
        'def test_add(size=1):\n    """Add.\n\n    >>> 1 + 1\n    2\n    """\n',
        2,
    ),
    "methods of a test case": (
        f"{CASE}    def test(self): pass\n    def test_b(self): pass\n    def check(self): pass\n",
        2,
    ),
    "a test function that needs an argument": ("def test_a(client):\n    pass\n", 0),
    "a test case without a test": (f"{CASE}    pass\n", 0),
    "a test that is skipped": (f"{CASE}    @unittest.skip('')\n    def test(self): pass\n", 0),
    "a test case that is skipped": (
        f"{CASE}    @classmethod\n    def setUpClass(cls): raise unittest.SkipTest\n"
        "    def test(self): pass\n",
        0,
    ),
    "imported test cases": (
        "from unittest import FunctionTestCase, TestCase\ndef test_a():\n    pass\n",
        1,
    ),
    "no tests": (f"{ADD}print('num_tests=5')\n", 0),
}
FAILING = {
    "a main that raises": (
        "if __name__ == '__main__':\n    raise KeyError('lost')\n",
        "failed",
        "KeyError: 'lost'",
    ),
    "an exit with 1": ("import sys\nsys.exit(1)\n", "failed", "SystemExit: 1"),
    "a name that is not defined": ("print(total)\n", "failed", "NameError"),
    "a test function": (
        f"{ADD}def test_add():\n    assert add(1, 2) == 4, 'three'\n",
        "failed",
        "1 of 1 tests: unittest.case.FunctionTestCase (test_add): AssertionError: three",
    ),
    "a test case that the file does not run": (
        "import unittest\nclass Checks(unittest.TestCase):\n    def test_one(self):\n"
        "        self.assertEqual(1, 2)\n",
        "failed",
        "1 of 1 tests",
    ),
    "a test that is expected to fail": (
        "import unittest\nclass Checks(unittest.TestCase):\n    @unittest.expectedFailure\n"
        "    def test_one(self):\n        pass\n",
        "failed",
        "unexpected success",
    ),
    "a doctest": (
        'def add(a, b):\n    """Sum.\n\n    >>> add(1, 2)\n    4\n    """\n    return a + b\n',
        "failed",
        "1 of 1 tests",
    ),
    "a loop without an end": ("while True:\n    pass\n", "timeout", ""),
    "a write outside its folder": ("open('/tmp/mine', 'w')\n", "failed", "PermissionError"),
}


def executed(folder: Path, *texts: str, seconds: float = 20.0) -> list[FileExecution]:
    request = FileExecutionRequest(
        programs=tuple(map(program, texts)), timeout_seconds=seconds, num_cpus=2
    )
    return list(execution.work(request, Progress(folder)).executions)


@needs_floor
def test_files_whose_top_level_and_tests_run_pass(tmp_path: Path) -> None:
    results = executed(tmp_path, *PASSING.values())
    outcomes = [(result.outcome, result.message) for result in results]
    assert dict(zip(PASSING, outcomes, strict=True)) == dict.fromkeys(PASSING, ("passed", ""))


@needs_floor
def test_only_tests_that_ran_are_counted(tmp_path: Path) -> None:
    results = executed(tmp_path, *(text for text, _ in NUM_TESTS.values()))
    counts = dict(zip(NUM_TESTS, [result.num_tests for result in results], strict=True))
    assert counts == {name: count for name, (_, count) in NUM_TESTS.items()}
    assert {result.outcome for result in results} == {"passed"}


@needs_floor
def test_a_program_that_fails_twice_says_the_same(tmp_path: Path) -> None:
    texts = [
        f"{CASE}    def test_one(self):\n        self.assertEqual(1, 2)\n",
        "import json\njson.loads('{')\n",
        "import tempfile\nopen(tempfile.mkdtemp() + '/a')\n",
        "import sys, time\nprint(time.perf_counter_ns(), file=sys.stderr, flush=True)\n1 / 0\n",
        "import time\nwhile True:\n    print(time.perf_counter_ns(), flush=True)\n",
    ]
    first, second = (executed(tmp_path, *texts, seconds=2.0) for _ in range(2))
    assert first == second
    assert [result.outcome for result in first] == [*["failed"] * 4, "timeout"]
    assert "Ran 1 test" not in first[0].message


@needs_floor
def test_files_that_fail_or_whose_tests_do_say_why(tmp_path: Path) -> None:
    texts = [text for text, *_ in FAILING.values()]
    for (name, (_, outcome, reason)), result in zip(
        FAILING.items(), executed(tmp_path, *texts, seconds=5.0), strict=True
    ):
        assert result.outcome == outcome, (name, result)
        assert reason in result.message, (name, result)


@pytest.mark.parametrize(
    ("text", "language", "reason"),
    [
        ("int main(void) { return 0; }", "c", "not_python"),
        ("import numpy as np", "python", "needs_modules"),
        ("from .helpers import log", "python", "needs_modules"),
        ("from urllib import request", "python", "needs_modules"),
        ("def fetch():\n    import subprocess", "python", "needs_modules"),
        ("name = input()", "python", "reads_input"),
        ("import sys\nprint(sys.argv[1])", "python", "reads_input"),
        ("import argparse", "python", "reads_input"),
        ("from sys import stdin as lines\nlines.read()", "python", "reads_input"),
        ("import os\nos.system('ls')", "python", "needs_system_calls"),
        ("import os as system\nsystem.fork()", "python", "needs_system_calls"),
        ("from os import popen", "python", "needs_system_calls"),
        ("import os\ndef run():\n    os.execvp('ls', ['ls'])", "python", "needs_system_calls"),
        ("import os\nos.spawnl(os.P_WAIT, 'ls')", "python", "needs_system_calls"),
        ("import shutil\nshutil.copy('a', 'b')", "python", "needs_system_calls"),
        (
            "from concurrent.futures import ProcessPoolExecutor as Pool",
            "python",
            "needs_system_calls",
        ),
        (
            "import concurrent.futures\nconcurrent.futures.ProcessPoolExecutor()",
            "python",
            "needs_system_calls",
        ),
        (
            "import asyncio\nasync def run():\n    await asyncio.create_subprocess_shell('ls')",
            "python",
            "needs_system_calls",
        ),
        ("import asyncio\nasyncio.subprocess.PIPE", "python", "needs_modules"),
        ("import os\nclass A:\n    def fork(self): self.os.fork()", "python", "runnable"),
        ("from urllib.parse import quote\nimport os.path, asyncio", "python", "runnable"),
        ("import math", "jupyter", "runnable"),
    ],
)
def test_what_the_sandbox_lacks_for_a_file_is_named(text: str, language: str, reason: str) -> None:
    assert runnability(text, language) == reason


def test_nothing_runs_where_no_sandbox_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unavailable = sandbox.Isolation(available=False, level="none", reason="no Landlock here")
    monkeypatch.setattr(sandbox, "probe", lambda: unavailable)
    monkeypatch.setattr(sandbox, "run_all", None)  # a call would raise TypeError
    with pytest.raises(ValueError, match="no Landlock here; run where one is, or set acceptance"):
        executed(tmp_path, "print(1)\n")
