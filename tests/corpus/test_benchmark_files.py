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
from tests.corpus.published_benchmarks import CLOSEST_SOLUTION, FILES, SCALED, big_code_bench

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
        ("HumanEval+/0", CLOSEST_SOLUTION.replace("return smallest", "return smallest + 1e-9")),
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
    absent = [big_code_bench(0, SCALED.replace("import rulers\n", "import rulers, calipers\n"))]
    present = [big_code_bench(number) for number in range(1, 5)]
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
    path.write_bytes(_parquet([{**big_code_bench(0), column: value}]))
    with pytest.raises(ValueError, match=rf"{named}.*download it again"):
        problems.read_problems(["BigCodeBench"], str(files))
