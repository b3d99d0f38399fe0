"""MBPP, the sanitized set: 427 Python functions, each with three assertions (arXiv 2108.07732).

The prompt is a docstring of the description and the first assertion, which tells the function's
name and types, as in MBPP+.
"""

import ast
import json
from collections.abc import Iterator, Mapping
from typing import Any

from snow_assets.corpus.benchmarks.declaration import Benchmark, PublishedFile


def _parse(content: bytes) -> Iterator[Mapping[str, str]]:
    for task in json.loads(content):
        entry_point = _entry_point(task)
        assertions = "\n".join([*task["test_imports"], *task["test_list"]])
        yield {
            "problem_id": f"MBPP/{task['task_id']}",
            "prompt": f'"""\n{task["prompt"].strip()}\n{task["test_list"][0].strip()}\n"""\n',
            "solution": task["code"].replace("\r\n", "\n"),
            "test": f"{entry_point} = candidate\n{assertions}\n",
            "entry_point": entry_point,
        }


def _entry_point(task: Mapping[str, Any]) -> str:
    """The function of the canonical solution that the first assertion calls."""
    defined = {
        node.name for node in ast.parse(task["code"]).body if isinstance(node, ast.FunctionDef)
    }
    called = [
        node.func.id
        for node in ast.walk(ast.parse(task["test_list"][0]))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    for name in called:
        if name in defined:
            return name
    raise ValueError(f"MBPP/{task['task_id']}: its tests call none of {sorted(defined)}")


MBPP = Benchmark(
    name="MBPP",
    source=PublishedFile(
        name="sanitized-mbpp.json",
        url="https://github.com/google-research/google-research/tree/master/mbpp",
        license="CC-BY-4.0",
    ),
    language="python",
    num_problems=427,
    parse=_parse,
    stop_sequences=('\n"""', "\nassert", "\nif __name__", "\ndef main(", "\nprint("),
)
