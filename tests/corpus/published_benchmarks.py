"""A few problems of each benchmark, as its project publishes them."""

from typing import Any

_CLOSEST = '''from typing import List


def closest_pair_distance(numbers: List[float]) -> float:
    """ Return the smallest distance of two neighbouring numbers after sorting the given list.
    >>> closest_pair_distance([1.0, 2.5, 2.0])
    0.5
    """
'''
CLOSEST_SOLUTION = """    ordered = sorted(numbers)
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
        "canonical_solution": CLOSEST_SOLUTION,
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
        "canonical_solution": CLOSEST_SOLUTION,
        "entry_point": "closest_pair_distance",
        "inputs": ["[1.0, 2.5, 2.0]", "[3.0, float('nan')]"],
    },
]
EVO_EVAL_VERBOSE = HUMAN_EVAL_PLUS
SCALED = '''import rulers
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


def big_code_bench(number: int, prompt: str = SCALED) -> dict[str, str]:
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


BIG_CODE_BENCH = [big_code_bench(0), big_code_bench(13)]
BIG_CODE_BENCH_HARD = [big_code_bench(13)]
FILES: dict[str, Any] = {
    "HumanEval+": HUMAN_EVAL_PLUS,
    "MBPP+": MBPP_PLUS,
    "MBPP": MBPP,
    "EvoEval-difficult": EVO_EVAL_DIFFICULT,
    "EvoEval-verbose": EVO_EVAL_VERBOSE,
    "BigCodeBench": BIG_CODE_BENCH,
    "BigCodeBench-hard": BIG_CODE_BENCH_HARD,
}
