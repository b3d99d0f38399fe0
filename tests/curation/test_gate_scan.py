"""The gate's compiled scan flags exactly the texts in which the gate's matcher finds something."""

import sys
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snow_assets.curation.decontamination import gate_scan
from snow_assets.curation.decontamination.gate import Gate
from snow_assets.curation.decontamination.program_tokens import (
    Tokens,
    description_tokens,
    program_tokens,
)
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM
from tests.curation.builders import a_problem, a_program
from tests.curation.test_contamination_gate import DISGUISED, PROBLEM, TABLE, WINDOW
from tests.curation.test_renamed import EXAMPLES, FRAGMENTS

GATE = Gate.of(TABLE, window_tokens=WINDOW)


def flags(texts: list[str], gate: Gate = GATE) -> list[bool]:
    found: list[bool] = gate.scan.flags(pa.array(texts, pa.large_string())).tolist()
    return found


def is_found(text: str, gate: Gate = GATE) -> bool:
    return bool(gate.hits("doc", text))


def assert_same_tokens(codes: np.ndarray, expected: Tokens) -> None:
    """As many tokens, and equal where and only where the expected ones are."""
    assert len(codes) == len(expected.codes)
    assert len(set(zip(codes.tolist(), expected.codes.tolist(), strict=True))) == len(
        set(codes.tolist())
    )
    assert len(set(codes.tolist())) == len(set(expected.codes.tolist()))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(FRAGMENTS, max_size=40).map("".join))
@example('x = "a\\"\n" + "b\\\n" /* c */ # d\n')
@example("/*/ a */ b /* c")
@example('"""a""" \'b\' "" \'\' """"c"')
@example("'\\")
def test_the_scan_reads_the_gates_tokens_in_any_text(text: str) -> None:
    expected = program_tokens(text)
    codes, is_name = gate_scan.token_codes(text, gate_scan.fixed_codes())
    assert_same_tokens(codes, expected)
    assert is_name.astype(bool).tolist() == expected.is_name.tolist()
    assert_same_tokens(gate_scan.token_codes(text, None)[0], description_tokens(text))


def test_every_character_is_lowered_as_python_does() -> None:
    for first in range(0, sys.maxunicode + 1, 4096):
        characters = [chr(code) for code in range(first, first + 4096)]
        text = " ".join(f"a{char}b" for char in characters if not "\ud800" <= char <= "\udfff")
        assert_same_tokens(gate_scan.token_codes(text, None)[0], description_tokens(text))


WORDS = st.sampled_from(["a", "b", "c", "if", "in", "=", "(", "+", "1", "# ab\n", "'s'", "ab cd"])


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(WORDS, max_size=12), st.lists(WORDS, max_size=60), st.integers(0, 50))
def test_the_scan_flags_what_the_gate_finds_and_nothing_else(
    solution: list[str], text: list[str], place: int
) -> None:
    docstring = " ".join(word for word in solution if word.isalnum())
    problem = a_problem(prompt=f'def f():\n"""{docstring}"""\n', solution=" ".join(solution))
    gate = Gate.of(pa.Table.from_pylist([problem], schema=BENCHMARK_PROBLEM), window_tokens=6)
    planted = [*text[:place], *solution, *text[place:]]
    texts = [" ".join(text), " ".join(planted), " ".join(planted).replace("a", "z")]
    assert flags(texts, gate) == [is_found(text, gate) for text in texts]


def test_planted_solutions_are_flagged_wherever_they_stand() -> None:
    before, after = a_program("before") * 20, a_program("after") * 20
    description = "# " + PROBLEM["prompt"].split('"""')[1].replace("\n    ", "\n# ").upper()
    for leak in (PROBLEM["solution"], DISGUISED, description):
        texts = [leak, before + leak, leak + after, before + leak + after]
        assert flags(texts) == [True] * 4
        assert all(map(is_found, texts))
    assert flags([before + after, "", before]) == [False] * 3


@pytest.mark.parametrize(
    ("text", "times"), [("/*", 500_000), ('"\\', 500_000), ("#/*'\"", 200_000), ("x ", 500_000)]
)
def test_texts_that_are_never_closed_or_repeat_a_name_take_linear_time(
    text: str, times: int
) -> None:
    flags([""])
    started = time.process_time()
    assert flags([text * times]) == [False]
    assert time.process_time() - started < 5
