"""HumanEval+ and MBPP+: more inputs for the problems of HumanEval and MBPP (arXiv 2305.01210).

Format, comparison of values and types of inputs are those of evalplus 0.3.1 (Apache-2.0). The
package itself is not used: it installs three vendors' clients and executes programs in its own
process (docs/benchmarks.md).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from snow_assets.corpus.benchmarks.declaration import Benchmark, PublishedFile
from snow_assets.corpus.benchmarks.differential import differential_test, expression

Arguments = list[Any]

_CLOSE = """\
def _is_float(value):
    items = value if isinstance(value, (list, tuple)) else [value]
    return bool(items) and all(isinstance(item, float) for item in items)


def _is_close(actual, expected, atol):
    if isinstance(expected, (list, tuple)):
        return len(actual) == len(expected) and all(
            _is_close(a, e, atol) for a, e in zip(actual, expected)
        )
    return actual == expected or abs(actual - expected) <= atol + 1e-7 * abs(expected)


def _matches(actual, expected, arguments):
    atol = {atol!r}
    is_exact = {is_exact}
    if is_exact:
        return True
    if atol == 0 and _is_float(expected):
        atol = 1e-6
    return atol != 0 and type(actual) == type(expected) and _is_close(actual, expected, atol)
"""

# Where several values are right, by function (evalplus 0.3.1, evalplus/eval).
_EXACT = "actual == expected"
_SAME_SET = "set(actual) == set(expected)"
_SAME_NONE = (
    "(expected is not None) == (actual if isinstance(actual, bool) else actual is not None)"
)
_ORACLES = {
    "find_zero": ("abs(sum(c * math.pow(actual, i) for i, c in enumerate(arguments[0]))) <= atol"),
    "are_equivalent": "True",
    "sum_div": f"{_EXACT} or actual == 0",
    "surface_Area": (
        f"{_EXACT} or abs(actual - round(arguments[0] ** 2 + 2 * arguments[0] * math.sqrt("
        "(arguments[0] / 2) ** 2 + arguments[1] ** 2))) <= atol"
    ),
    "digit_distance_nums": (
        f"{_EXACT} or actual == sum(abs(int(a) - int(b)) for a, b in zip(*(str(n).zfill("
        "max(len(str(m)) for m in arguments)) for n in arguments)))"
    ),
    **dict.fromkeys(
        (
            "similar_elements",
            "find_char_long",
            "common_in_nested_lists",
            "extract_singly",
            "larg_nnum",
            "intersection_array",
            "find_dissimilar",
            "Diff",
        ),
        _SAME_SET,
    ),
    **dict.fromkeys(("check_str", "text_match_three", "text_starta_endb"), _SAME_NONE),
}


def _tuples(value: Any) -> Any:
    """All lists, on all levels, as tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _tuples_in(arguments: Arguments) -> Arguments:
    return [[tuple(row) for row in argument] for argument in arguments]


_CONVERSIONS: tuple[tuple[frozenset[int], Callable[[Arguments], Arguments]], ...] = (
    (
        frozenset(
            (2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616)
            + (630, 726, 740, 744, 809)
        ),
        lambda arguments: [tuple(argument) for argument in arguments],
    ),
    (
        frozenset((63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780)),
        _tuples_in,
    ),
    (
        frozenset((75, 413, 444, 753)),
        lambda arguments: [[tuple(row) for row in arguments[0]], arguments[1]],
    ),
    (frozenset((106, 750)), lambda arguments: [arguments[0], tuple(arguments[1])]),
    (
        frozenset((115,)),
        lambda arguments: [
            [set(item) if isinstance(item, list) and item else {} for item in arguments[0]]
        ],
    ),
    (frozenset((124,)), lambda arguments: [float(arguments[0]), complex(arguments[1])]),
    (
        frozenset((250, 307, 405, 446, 617, 720, 763, 808)),
        lambda arguments: [tuple(arguments[0]), *arguments[1:]],
    ),
    (
        frozenset((259, 401, 445)),
        lambda arguments: [tuple(row) for row in _tuples_in(arguments)],
    ),
    (
        frozenset((278,)),
        lambda arguments: [
            tuple(tuple(item) if isinstance(item, list) else item for item in arguments[0])
        ],
    ),
    (
        frozenset((722,)),
        lambda arguments: [
            {key: tuple(value) for key, value in arguments[0].items()},
            *arguments[1:],
        ],
    ),
    (frozenset((252,)), lambda arguments: [complex(arguments[0])]),
    (frozenset((580, 615, 791)), lambda arguments: list(_tuples(arguments))),
)
"""Types of inputs that JSON does not hold, by MBPP's task number."""


def _mbpp_arguments(number: int, arguments: Arguments) -> Arguments:
    for numbers, convert in _CONVERSIONS:
        if number in numbers:
            return convert(arguments)
    return arguments


def _parse(
    content: bytes, name: str, origin: str, arguments: Callable[[int, Arguments], Arguments]
) -> Iterator[Mapping[str, str]]:
    for line in content.splitlines():
        task = json.loads(line)
        number = int(task["task_id"].rsplit("/", 1)[1])
        entry_point = task["entry_point"]
        inputs = [*task["base_input"], *task["plus_input"]]
        yield {
            "problem_id": f"{name}/{number}",
            "origin_id": f"{origin}/{number}",
            "prompt": task["prompt"],
            "solution": task["canonical_solution"],
            "test": differential_test(
                entry_point,
                [expression(arguments(number, values)) for values in inputs],
                _CLOSE.format(atol=task["atol"], is_exact=_ORACLES.get(entry_point, _EXACT)),
            ),
            "entry_point": entry_point,
        }


HUMAN_EVAL_PLUS = Benchmark(
    name="HumanEval+",
    source=PublishedFile(
        name="HumanEvalPlus.jsonl.gz",
        url="https://github.com/evalplus/humanevalplus_release/releases/tag/v0.1.10",
        license="Apache-2.0",
    ),
    language="python",
    num_problems=164,
    parse=lambda content: _parse(content, "HumanEval+", "HumanEval", lambda _, values: values),
    stop_sequences=("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ", "\nif __name__")
    + ("\nprint(",),
)
MBPP_PLUS = Benchmark(
    name="MBPP+",
    source=PublishedFile(
        name="MbppPlus.jsonl.gz",
        url="https://github.com/evalplus/mbppplus_release/releases/tag/v0.2.0",
        license="Apache-2.0; the problems are MBPP's, CC-BY-4.0",
    ),
    language="python",
    num_problems=378,
    parse=lambda content: _parse(content, "MBPP+", "MBPP", _mbpp_arguments),
    stop_sequences=('\n"""', "\nassert", "\nif __name__", "\ndef main(", "\nprint("),
)
