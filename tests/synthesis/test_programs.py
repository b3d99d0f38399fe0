"""Generated files run in the real sandbox, with their tests, if it has what they need."""

from pathlib import Path

import pytest

from snow_assets.runtime import sandbox
from snow_assets.synthesis import execution
from snow_assets.synthesis.contract import FileExecutionRequest
from snow_assets.synthesis.programs import has_tests, program, runnability
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
    "a doctest": (
        'def add(a, b):\n    """Sum.\n\n    >>> add(1, 2)\n    4\n    """\n    return a + b\n',
        "failed",
        "1 of 1 tests",
    ),
    "a loop without an end": ("while True:\n    pass\n", "timeout", ""),
    "a write outside its folder": ("open('/tmp/mine', 'w')\n", "failed", "PermissionError"),
}


def executed(folder: Path, *texts: str, seconds: float = 20.0) -> list[tuple[str, str]]:
    request = FileExecutionRequest(
        programs=tuple(map(program, texts)), timeout_seconds=seconds, num_cpus=2
    )
    report = execution.work(request, Progress(folder))
    return [(result.outcome, result.message) for result in report.executions]


@needs_floor
def test_files_whose_top_level_and_tests_run_pass(tmp_path: Path) -> None:
    outcomes = executed(tmp_path, *PASSING.values())
    assert dict(zip(PASSING, outcomes, strict=True)) == dict.fromkeys(PASSING, ("passed", ""))


@needs_floor
def test_files_that_fail_or_whose_tests_do_say_why(tmp_path: Path) -> None:
    texts = [text for text, *_ in FAILING.values()]
    for (name, (_, outcome, reason)), result in zip(
        FAILING.items(), executed(tmp_path, *texts, seconds=5.0), strict=True
    ):
        assert result[0] == outcome, (name, result)
        assert reason in result[1], (name, result)


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
        ("from urllib.parse import quote\nimport os.path, asyncio", "python", "runnable"),
        ("import math", "jupyter", "runnable"),
    ],
)
def test_what_the_sandbox_lacks_for_a_file_is_named(text: str, language: str, reason: str) -> None:
    assert runnability(text, language) == reason


def test_a_test_function_needs_no_argument_to_be_one() -> None:
    assert has_tests("def test_a(size=3):\n    pass\n")
    assert not has_tests("def test_a(client):\n    pass\n")
    assert not has_tests("class Case:\n    pass\n")


def test_nothing_runs_where_no_sandbox_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unavailable = sandbox.Isolation(available=False, level="none", reason="no Landlock here")
    monkeypatch.setattr(sandbox, "probe", lambda: unavailable)
    monkeypatch.setattr(sandbox, "run_all", None)  # a call would raise TypeError
    with pytest.raises(ValueError, match="no Landlock here; run where one is, or set acceptance"):
        executed(tmp_path, "print(1)\n")
