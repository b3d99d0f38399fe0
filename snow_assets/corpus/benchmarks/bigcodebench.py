"""BigCodeBench: functions that call third-party libraries, tested by unittest (arXiv 2406.15877).

The split "complete": docstrings to continue. Format, stop sequences and rule of passing are those
of bigcodebench 0.2.5 (Apache-2.0), which itself is not used (docs/decisions/0012-suites.md). Tests
replace parts of the program's own process, so they run in it, in an environment with the libraries
(`operation.benchmark_python`).
"""

import ast
import io
from collections.abc import Iterator, Mapping
from functools import partial

from snow_assets.corpus.benchmarks.declaration import Benchmark, PublishedFile

_COLUMNS = ["task_id", "complete_prompt", "canonical_solution", "test", "entry_point"]
_PREFIX = "BigCodeBench/"


def test_methods(test: str) -> set[str]:
    """Names of the test methods of class `TestCases`; empty without such a class."""
    return {
        method.name
        for node in ast.parse(test).body
        if isinstance(node, ast.ClassDef) and node.name == "TestCases"
        for method in node.body
        if isinstance(method, ast.FunctionDef) and method.name.startswith("test")
    }


def _parse(content: bytes, *, name: str) -> Iterator[Mapping[str, str]]:
    import pyarrow.parquet as pq

    for task in pq.read_table(io.BytesIO(content), columns=_COLUMNS).to_pylist():
        task_id, entry_point = task["task_id"], task["entry_point"]
        if empty := [column for column in _COLUMNS if not task[column]]:
            raise ValueError(f"{task_id}: {', '.join(empty)} is empty")
        if not task_id.startswith(_PREFIX):
            raise ValueError(f"task_id {task_id!r} does not begin with {_PREFIX!r}")
        program = task["complete_prompt"] + task["canonical_solution"]
        defined = {getattr(node, "name", None) for node in ast.parse(program).body}
        if entry_point not in defined:
            raise ValueError(f"{task_id}: its program does not define {entry_point!r}")
        if not test_methods(task["test"]):
            raise ValueError(f"{task_id}: its test has no class TestCases with a test method")
        yield {
            "problem_id": f"{name}/{task_id.removeprefix(_PREFIX)}",
            "origin_id": task_id,
            "prompt": task["complete_prompt"],
            "solution": task["canonical_solution"],
            "test": task["test"],
            "entry_point": entry_point,
        }


BIG_CODE_BENCH = tuple(
    Benchmark(
        name=name,
        source=PublishedFile(
            name=f"{repository}/data/v0.1.4-00000-of-00001.parquet",
            url=f"https://huggingface.co/datasets/bigcode/{repository}",
            license="Apache-2.0",
        ),
        language="python",
        num_problems=num_problems,
        parse=partial(_parse, name=name),
        stop_sequences=("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ", "\nif __name__")
        + ("\nprint(",),
        test_kind="unittest",
    )
    for name, repository, num_problems in (
        ("BigCodeBench", "bigcodebench", 1140),
        ("BigCodeBench-hard", "bigcodebench-hard", 148),
    )
)
