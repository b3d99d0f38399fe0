"""EvoEval: HumanEval's problems rewritten, harder, combined or reworded (arXiv 2403.19114).

Format and comparison of values are those of evoeval 0.1.0 (Apache-2.0). `verbose` and `concise`
reword HumanEval's problems and have its inputs; the other subsets are new problems.
"""

import json
from collections.abc import Iterator, Mapping
from functools import partial

from snow_assets.corpus.benchmarks.declaration import Benchmark, PublishedFile
from snow_assets.corpus.benchmarks.differential import differential_test, expression

_NUM_PROBLEMS = {
    "difficult": 100,
    "creative": 100,
    "subtle": 100,
    "combine": 100,
    "tool_use": 100,
    "verbose": 164,
    "concise": 164,
}
_EQUAL = """\
def _equals(actual, expected):
    if isinstance(expected, bool) or isinstance(actual, bool):
        return actual is expected
    if type(actual) is not type(expected):
        return False
    if isinstance(expected, float):
        is_nan = math.isnan(actual) and math.isnan(expected)
        return actual == expected or is_nan or abs(actual - expected) <= 1e-6 + 1e-5 * abs(expected)
    if isinstance(expected, (list, tuple)):
        return len(actual) == len(expected) and all(map(_equals, actual, expected))
    if isinstance(expected, dict):
        return actual.keys() == expected.keys() and all(
            _equals(actual[key], expected[key]) for key in expected
        )
    return actual == expected


def _polynomial(coefficients, x):
    return sum(c * math.pow(x, i) for i, c in enumerate(coefficients))


def _walk(start, moves):
    steps = {'right': (0, 1), 'left': (0, -1), 'up': (-1, 0), 'down': (1, 0)}
    row, column = start
    for move in moves:
        row, column = row + steps[move][0], column + steps[move][1]
        yield row, column


def _matches(actual, expected, arguments):
    return IS_RIGHT
"""
# Where several values are right: (subset, task) -> expression (evoeval 0.1.0, evoeval/eval_test).
_ORACLES = {
    ("difficult", 10): (
        "len(actual) == len(expected) and actual.startswith(arguments[0]) "
        "and actual.lower() == actual[::-1].lower()"
    ),
    ("difficult", 32): (
        "actual is None if expected is None else arguments[1][0] <= actual <= arguments[1][1] "
        "and abs(_polynomial(arguments[0], actual)) <= 2e-2"
    ),
    ("creative", 26): (
        "actual == [] if not expected else all(arguments[0][r][c] != 1 for r, c in "
        "_walk(arguments[1], actual)) and [*_walk(arguments[1], actual)][-1:] == "
        "[tuple(arguments[2])]"
    ),
    ("creative", 30): (
        "actual == [] if not expected else tuple(actual[0]) == tuple(arguments[1]) "
        "and tuple(actual[-1]) == tuple(arguments[2]) "
        "and all(arguments[0][r][c] != 0 for r, c in actual) "
        "and all(abs(r - s) + abs(c - d) == 1 for (r, c), (s, d) in zip(actual, actual[1:]))"
    ),
    ("creative", 69): (
        "actual == expected if expected == 'No magic today' else isinstance(actual, tuple) "
        "and 0 <= actual[0] < actual[1] < len(arguments[0]) "
        "and arguments[0][actual[0]] * arguments[0][actual[1]] == arguments[1]"
    ),
    ("subtle", 32): (
        "abs(_polynomial([arguments[0][0], arguments[0][1], "
        "*(v for c in arguments[0][2:] for v in (0, c))], actual)) <= 1e-6"
    ),
    ("verbose", 32): "abs(_polynomial(arguments[0], actual)) <= 1e-6",
    ("concise", 32): "abs(_polynomial(arguments[0], actual)) <= 1e-6",
}


def _parse(content: bytes, *, subset: str) -> Iterator[Mapping[str, str]]:
    name = f"EvoEval-{subset}"
    for line in content.splitlines():
        task = json.loads(line)
        number = int(task["task_id"].rsplit("/", 1)[1])
        if "inputs" in task:
            inputs = [f"[{arguments}]" for arguments in task["inputs"]]
        else:
            published = [*task["base_input"], *task.get("plus_input", ())]
            inputs = [expression(arguments) for arguments in published]
        is_right = _ORACLES.get((subset, number), "_equals(actual, expected)")
        yield {
            "problem_id": f"{name}/{number}",
            "origin_id": task["task_id"] if task["task_id"].startswith("HumanEval/") else "",
            "prompt": task["prompt"],
            "solution": "\n" + task["canonical_solution"],
            "test": differential_test(
                task["entry_point"], inputs, _EQUAL.replace("IS_RIGHT", is_right)
            ),
            "entry_point": task["entry_point"],
        }


EVO_EVAL = tuple(
    Benchmark(
        name=f"EvoEval-{subset}",
        source=PublishedFile(
            name=f"EvoEval_{subset}.jsonl.gz",
            url="https://github.com/evo-eval/evoeval_release/releases/tag/v0.1.0",
            license="Apache-2.0",
        ),
        language="python",
        num_problems=num_problems,
        parse=partial(_parse, subset=subset),
        stop_sequences=("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ", "\nif __name__")
        + ("\nprint(",),
    )
    for subset, num_problems in _NUM_PROBLEMS.items()
)
