"""Tests that compare a function with the canonical one on published inputs.

The sandbox's judge holds the canonical solution, so expected values are computed beside each run:
none is stored, and none can differ from the Python that runs the candidate.
"""

from collections.abc import Sequence
from typing import Any

_HEADER = """\
import copy
import math
inf, nan = math.inf, math.nan
"""
_LOOP = """\
for _arguments in _inputs:
    _expected = {entry_point}(*copy.deepcopy(_arguments))
    _actual = candidate(*copy.deepcopy(_arguments))
    assert _matches(_actual, _expected, _arguments), (
        f'{{str(_arguments)[:300]}}: {{str(_actual)[:300]}}, expected {{str(_expected)[:300]}}'
    )
"""


def differential_test(entry_point: str, inputs: Sequence[str], matches: str) -> str:
    """Source of a test: for each of `inputs` (an expression of the list of arguments), the
    candidate's value must match the canonical one's.

    `matches` is the source of `_matches(actual, expected, arguments) -> bool`.
    """
    listed = "".join(f"    {expression},\n" for expression in inputs)
    return (
        f"{_HEADER}\n\n{matches}\n\n_inputs = [\n{listed}]\n{_LOOP.format(entry_point=entry_point)}"
    )


def expression(value: Any) -> str:
    """A Python expression of a plain value; `inf` and `nan` are names that the test defines."""
    return repr(value)
