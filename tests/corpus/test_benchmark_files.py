"""Benchmarks are read from the files that their projects publish, and judged as these judge."""

import gzip
import io
import json
import sys
import venv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snow_assets.cli import suites
from snow_assets.corpus import problems
from snow_assets.corpus.benchmarks import BENCHMARKS
from snow_assets.curation.decontamination.gate import gate_hits
from snow_assets.curation.decontamination.prefilter import hits, index_problems
from snow_assets.evaluation.execution import execution_of
from snow_assets.evaluation.problems import problem_from_row
from snow_assets.evaluation.programs import problem_test, required_python
from snow_assets.recipe import SMOKE
from snow_assets.runtime import sandbox
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM

_CLOSEST = '''from typing import List


def closest_pair_distance(numbers: List[float]) -> float:
    """ Return the smallest distance of two neighbouring numbers after sorting the given list.
    >>> closest_pair_distance([1.0, 2.5, 2.0])
    0.5
    """
'''
_CLOSEST_SOLUTION = """    ordered = sorted(numbers)
    smallest = float("inf")
    for left, right in zip(ordered, ordered[1:]):
        smallest = min(smallest, right - left)
    return smallest
"""
_ZERO = '''def find_zero(xs: list):
    """ Find a value x where the polynomial with the given coefficients is zero, by bisection.
    """
'''
_ZERO_SOLUTION = """    begin, end = -1.0, 1.0
    value = lambda x: sum(c * x ** i for i, c in enumerate(xs))
    while value(begin) * value(end) > 0:
        begin *= 2.0
        end *= 2.0
    while end - begin > 1e-10:
        center = (begin + end) / 2.0
        if value(center) * value(begin) > 0:
            begin = center
        else:
            end = center
    return begin
"""
HUMAN_EVAL_PLUS = [
    {
        "task_id": "HumanEval/0",
        "prompt": _CLOSEST,
        "canonical_solution": _CLOSEST_SOLUTION,
        "entry_point": "closest_pair_distance",
        "contract": "\n    assert len(numbers) > 1 # $_CONTRACT_$\n",
        "base_input": [[[1.0, 2.5, 2.0]], [[1.0, 1.1, 5.0]]],
        "plus_input": [[[0.1, 0.3, float("inf")]]],
        "atol": 0,
    },
    {
        "task_id": "HumanEval/32",
        "prompt": _ZERO,
        "canonical_solution": _ZERO_SOLUTION,
        "entry_point": "find_zero",
        "contract": "",
        "base_input": [[[-2, 1]]],
        "plus_input": [[[-6, 11, -6, 1]]],
        "atol": 1e-4,
    },
]
_SIMILAR = """
def similar_elements(first, second):
  shared = set(first) & set(second)
  assert isinstance(first, tuple)
  ordered = sorted(shared, key=lambda item: (str(item), repr(item)))
  return tuple(ordered)
"""
MBPP_PLUS = [
    {
        "task_id": "Mbpp/2",
        "prompt": '"""\nWrite a function that finds the elements which two given tuples share.\n'
        'assert set(similar_elements((3, 4, 5, 6),(5, 7, 4, 10))) == set((4, 5))\n"""\n',
        "canonical_solution": _SIMILAR,
        "entry_point": "similar_elements",
        "contract": "",
        "assertion": "assert set(similar_elements((3, 4, 5, 6),(5, 7, 4, 10))) == set((4, 5))",
        "base_input": [[[3, 4, 5, 6], [5, 7, 4, 10]]],
        "plus_input": [[[1, 2], [2, 1]], [[], []]],
        "atol": 0,
    },
    {
        "task_id": "Mbpp/252",
        "prompt": '"""\nWrite a function to turn a complex number into polar coordinates.\n"""\n',
        "canonical_solution": "\nimport cmath\ndef convert(number):\n"
        "  assert isinstance(number, complex)\n  return cmath.polar(number)\n",
        "entry_point": "convert",
        "contract": "",
        "base_input": [["(1+0j)"]],
        "plus_input": [["-2j"]],
        "atol": 0,
    },
]
MBPP = [
    {
        "source_file": "Benchmark Questions Verification V2.ipynb",
        "task_id": 11,
        "prompt": "Write a function to remove the first and last occurrence of a character.",
        "code": "def remove_Occ(s,ch): \r\n    first, last = s.find(ch), s.rfind(ch)\r\n"
        "    if first < 0:\r\n        return s\r\n    without_last = s[:last] + s[last + 1:]\r\n"
        "    return without_last[:first] + without_last[first + (first != last):]\r\n",
        "test_imports": ["import math"],
        "test_list": [
            'assert remove_Occ("hello","l") == "heo"',
            'assert remove_Occ("abcda","a") == "bcd"',
            'assert math.isclose(len(remove_Occ("PHP","P")), 1)',
        ],
    }
]
_PALINDROME = '''def shortest_palindrome(word: str) -> str:
    """ Append as few letters as are needed to a given word so that it reads the same backwards,
    ignoring the case of all its letters.
    """'''
_PALINDROME_SOLUTION = """    lowered = word.lower()
    for start in range(len(word) + 1):
        suffix = lowered[start:]
        if suffix == suffix[::-1]:
            return word + lowered[:start][::-1]
"""
EVO_EVAL_DIFFICULT = [
    {
        "task_id": "EvoEval/10",
        "parent": "HumanEval/10",
        "prompt": _PALINDROME,
        "canonical_solution": _PALINDROME_SOLUTION,
        "entry_point": "shortest_palindrome",
        "inputs": ["'Catac'", "''"],
    },
    {
        "task_id": "EvoEval/20",
        "parent": "HumanEval/20",
        "prompt": _CLOSEST,
        "canonical_solution": _CLOSEST_SOLUTION,
        "entry_point": "closest_pair_distance",
        "inputs": ["[1.0, 2.5, 2.0]", "[3.0, float('nan')]"],
    },
]
EVO_EVAL_VERBOSE = HUMAN_EVAL_PLUS
_SCALED = '''import rulers
import unittest.mock


def task_func(lengths):
    """
    Scale a list of lengths by the factor of the ruler, and return their total.

    Requirements:
    - rulers
    """
'''
_SCALED_SOLUTION = """    factor = rulers.factor()
    total = 0
    for length in lengths:
        total += factor * length
    return total
"""
_SCALED_TEST = """import unittest
from unittest.mock import patch

class TestCases(unittest.TestCase):
    def setUp(self):
        self.lengths = [1, 2]

    def test_case_1(self):
        self.assertEqual(task_func(self.lengths), 6)

    def test_case_2(self):
        with patch('rulers.factor', return_value=10):
            self.assertEqual(task_func(self.lengths), 30)

if __name__ == '__main__':
    unittest.main()
"""


def _big_code_bench(number: int, prompt: str = _SCALED) -> dict[str, str]:
    return {
        "task_id": f"BigCodeBench/{number}",
        "complete_prompt": prompt,
        "instruct_prompt": "Scale a list of lengths.",
        "canonical_solution": _SCALED_SOLUTION,
        "code_prompt": "import rulers\ndef task_func(lengths):\n",
        "test": _SCALED_TEST,
        "entry_point": "task_func",
        "doc_struct": "{}",
        "libs": "['rulers']",
    }


BIG_CODE_BENCH = [_big_code_bench(0), _big_code_bench(13)]
BIG_CODE_BENCH_HARD = [_big_code_bench(13)]
FILES: dict[str, Any] = {
    "HumanEval+": HUMAN_EVAL_PLUS,
    "MBPP+": MBPP_PLUS,
    "MBPP": MBPP,
    "EvoEval-difficult": EVO_EVAL_DIFFICULT,
    "EvoEval-verbose": EVO_EVAL_VERBOSE,
    "BigCodeBench": BIG_CODE_BENCH,
    "BigCodeBench-hard": BIG_CODE_BENCH_HARD,
}
NAMES = tuple(FILES)

sandboxed = pytest.mark.skipif(
    not sandbox.probe().available, reason=f"no sandbox here: {sandbox.probe().reason}"
)


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), content)
    return content.getvalue()


def _published(name: str) -> bytes:
    if name == "MBPP":
        return json.dumps(FILES[name]).encode()
    if BENCHMARKS[name].source.name.endswith(".parquet"):
        return _parquet(FILES[name])
    return gzip.compress("".join(json.dumps(task) + "\n" for task in FILES[name]).encode())


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the published files, with a few problems each."""
    for name in NAMES:
        path = tmp_path / BENCHMARKS[name].source.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_published(name))
        few = replace(BENCHMARKS[name], num_problems=len(FILES[name]))
        monkeypatch.setitem(BENCHMARKS, name, few)
    return tmp_path


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Interpreter of an environment with the library that programs of BigCodeBench import."""
    folder = tmp_path_factory.mktemp("libraries")
    venv.create(folder, with_pip=False)
    interpreter = str(folder / "bin" / "python")
    (packages,) = sandbox.python_environment(interpreter).packages
    (Path(packages) / "rulers.py").write_text("def factor():\n    return 2\n")
    return interpreter


def rows_by_id(files: Path, *names: str) -> dict[str, dict[str, Any]]:
    return {row["problem_id"]: row for row in problems.read_problems(names or NAMES, str(files))}


def outcome(row: dict[str, Any], solution: str, python: str) -> str:
    problem = problem_from_row(row)
    source = f"{problem.prompt}\n{solution}"  # prompts end without newlines
    environment = sandbox.python_environment(python)
    execution = execution_of(source, problem_test(problem), 20.0, environment=environment)
    (result,) = sandbox.run_all([execution], num_cpus=1)
    return result.outcome


@sandboxed
@pytest.mark.parametrize("name", NAMES)
def test_canonical_solutions_pass_their_tests(files: Path, python: str, name: str) -> None:
    result = suites.verify(name, str(files), seconds=20.0, benchmark_python=python)
    assert (result.num_problems, result.excluded, result.refusal) == (len(FILES[name]), {}, None)


@sandboxed
@pytest.mark.parametrize(
    ("problem_id", "solution"),
    [
        ("HumanEval+/0", "    return 0.5\n"),  # right for the published example, wrong for others
        ("HumanEval+/32", "    return 0.0\n"),
        ("MBPP+/2", "\ndef similar_elements(first, second):\n    return (4, 5)\n"),
        ("MBPP+/252", "\ndef convert(number):\n    return (1.0, 0.0)\n"),
        ("MBPP/11", "\ndef remove_Occ(s, ch):\n    return s.replace(ch, '', 1)\n"),
        ("EvoEval-difficult/10", "\n    return word + word\n"),
        ("EvoEval-difficult/20", "\n    return '0.5'\n"),
        ("EvoEval-verbose/0", "\n    return 1\n"),
        ("BigCodeBench/0", "    return 2 * sum(lengths)\n"),  # right, were the library not replaced
        ("BigCodeBench/0", "    raise SystemExit(0)\n"),
        ("BigCodeBench/0", "    raise unittest.SkipTest('skipped')\n"),
        ("BigCodeBench/0", "    return 6\nimport os\nos._exit(0)\n"),
        ("BigCodeBench-hard/13", "    return rulers.factor()\n"),
    ],
)
def test_wrong_solutions_fail(files: Path, python: str, problem_id: str, solution: str) -> None:
    assert outcome(rows_by_id(files)[problem_id], solution, python) == "failed"


@sandboxed
@pytest.mark.parametrize(
    ("problem_id", "solution"),
    [
        ("HumanEval+/0", _CLOSEST_SOLUTION.replace("return smallest", "return smallest + 1e-9")),
        ("HumanEval+/32", "    return 2.0 if len(xs) == 2 else 3.0\n"),  # another zero
        (
            "MBPP+/2",
            "\ndef similar_elements(a, b):\n    return [item for item in b if item in a]\n",
        ),
        ("EvoEval-difficult/10", "\n    return word + word[::-1].swapcase()[len(word):]\n"),
        ("BigCodeBench-hard/13", "    return sum(rulers.factor() * item for item in lengths)\n"),
    ],
)
def test_every_right_value_passes(files: Path, python: str, problem_id: str, solution: str) -> None:
    assert outcome(rows_by_id(files)[problem_id], solution, python) == "passed"


def test_inputs_get_the_types_that_json_does_not_hold(files: Path) -> None:
    rows = rows_by_id(files)
    assert "[(3, 4, 5, 6), (5, 7, 4, 10)]," in rows["MBPP+/2"]["test"]
    assert "[(1+0j)]," in rows["MBPP+/252"]["test"]
    assert "[[0.1, 0.3, inf]]," in rows["HumanEval+/0"]["test"]


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_solution_is_dropped_and_blocks(files: Path, name: str) -> None:
    rows = list(rows_by_id(files, name).values())
    table = pa.Table.from_pylist(rows, BENCHMARK_PROBLEM)
    index = index_problems(table, recipe=SMOKE.curation.contamination)
    row = rows[0]
    text = f"import sys\n\n{row['prompt']}{row['solution']}\n\nprint(sys.argv)\n"
    assert row["problem_id"] in {hit.problem_id for hit in hits(text, index)}
    blocked = gate_hits([("document", text)], table, window_tokens=24)
    assert row["problem_id"] in {hit.problem_id for hit in blocked}


def test_a_problem_is_in_the_half_of_the_one_that_it_is_made_of(files: Path) -> None:
    rows = rows_by_id(files)
    assert rows["BigCodeBench/13"]["is_validation"] == rows["BigCodeBench-hard/13"]["is_validation"]
    rows = rows_by_id(files, "HumanEval", "HumanEval+", "EvoEval-verbose")
    for number in (0, 32):
        halves = {
            rows[f"{name}/{number}"]["is_validation"]
            for name in ("HumanEval", "HumanEval+", "EvoEval-verbose")
        }
        assert len(halves) == 1


def test_an_edited_file_is_another_input(files: Path) -> None:
    before = problems.versions(NAMES, str(files))
    path = files / "MbppPlus.jsonl.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"\n"))
    after = problems.versions(NAMES, str(files))
    assert {name for name in NAMES if before[name] != after[name]} == {"MBPP+"}


def test_a_missing_file_is_named_with_its_origin(files: Path) -> None:
    with pytest.raises(ValueError, match=r"operation\.benchmark_files names no folder: name one"):
        problems.versions(["MBPP"], None)
    (files / "sanitized-mbpp.json").unlink()
    with pytest.raises(ValueError, match=r"sanitized-mbpp.json is missing: download it from https"):
        problems.versions(["MBPP"], str(files))


@pytest.mark.parametrize(
    "content",
    [
        _published("HumanEval+")[:-20],
        b"\x1f\x8bnot gzip",
        b"[1, 2",
        b"[]\n",
        b'{"task_id": "x"}\n',
        b'{"task_id": "HumanEval/0", "entry_point": 3, "base_input": 4}\n',
    ],
)
def test_a_file_of_another_format_is_refused(files: Path, content: bytes) -> None:
    (files / "HumanEvalPlus.jsonl.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"HumanEvalPlus.jsonl.gz is no file of HumanEval\+'s"):
        problems.read_problems(["HumanEval+"], str(files))


def test_another_version_of_a_file_is_refused(files: Path) -> None:
    (files / "sanitized-mbpp.json").write_bytes(b"[]")
    with pytest.raises(ValueError, match=r"MBPP has 0 problems in sanitized-mbpp.json, and its"):
        problems.read_problems(["MBPP"], str(files))


@sandboxed
def test_problems_whose_libraries_are_missing_are_excluded_by_name(
    files: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = [_big_code_bench(0, _SCALED.replace("import rulers\n", "import rulers, calipers\n"))]
    present = [_big_code_bench(number) for number in range(1, 5)]
    path = files / BENCHMARKS["BigCodeBench"].source.name
    path.write_bytes(_parquet(absent + present))
    five = replace(BENCHMARKS["BigCodeBench"], num_problems=5)
    monkeypatch.setitem(BENCHMARKS, "BigCodeBench", five)
    result = suites.verify("BigCodeBench", str(files), seconds=20.0, benchmark_python=python)
    assert list(result.excluded) == ["BigCodeBench/0"]
    assert "No module named 'calipers'" in result.excluded["BigCodeBench/0"]
    assert result.refusal is None
    with pytest.raises(ValueError, match=r"name its interpreter as BENCHMARK_PYTHON"):
        suites.verify("BigCodeBench", str(files), seconds=20.0)
    venv.create(files / "empty", with_pip=False)
    empty = str(files / "empty" / "bin" / "python")
    without = suites.verify("BigCodeBench", str(files), seconds=20.0, benchmark_python=empty)
    assert "No module named 'rulers'" in str(without.refusal)
    assert "install what its programs import" in str(without.refusal)


def test_an_environment_that_is_not_there_is_named_with_the_remedy() -> None:
    benchmarks = ("HumanEval", "BigCodeBench")
    recipe = replace(SMOKE, evaluation=replace(SMOKE.evaluation, benchmarks=benchmarks))
    with pytest.raises(ValueError, match=r"BigCodeBench: .*operation\.benchmark_python names no"):
        required_python(recipe)
    stated = replace(recipe, operation=replace(SMOKE.operation, benchmark_python="/nowhere/python"))
    assert required_python(stated) == "/nowhere/python"
    with pytest.raises(ValueError, match=r"benchmark_python is /nowhere/python, and no program is"):
        required_python(stated, is_here=True)
    for relative in ("python", "venv/bin/python"):
        operation = replace(SMOKE.operation, benchmark_python=relative)
        with pytest.raises(
            ValueError, match=rf"benchmark_python is '{relative}', no absolute path"
        ):
            required_python(replace(recipe, operation=operation))
    here = replace(recipe, operation=replace(SMOKE.operation, benchmark_python=sys.executable))
    assert required_python(here, is_here=True) == sys.executable
    assert required_python(replace(stated, evaluation=SMOKE.evaluation)) is None
    with pytest.raises(ValueError, match=r"/nowhere/python is no Python interpreter"):
        sandbox.python_environment("/nowhere/python")


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("task_id", "HumanEval/0", "'HumanEval/0' does not begin with"),
        ("test", "def test():\n    pass\n", "BigCodeBench/0: its test has no class TestCases"),
        ("entry_point", "other", "BigCodeBench/0: its program does not define 'other'"),
        ("canonical_solution", "", "BigCodeBench/0: canonical_solution is empty"),
    ],
)
def test_a_malformed_row_is_refused_by_name(
    files: Path, column: str, value: str, named: str
) -> None:
    path = files / BENCHMARKS["BigCodeBench"].source.name
    path.write_bytes(_parquet([{**_big_code_bench(0), column: value}]))
    with pytest.raises(ValueError, match=rf"{named}.*download it again"):
        problems.read_problems(["BigCodeBench"], str(files))
