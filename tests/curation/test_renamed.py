"""The filter's matcher of renamed programs finds what the gate refuses, by other means."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snow_assets.corpus.problems import read_problems
from snow_assets.curation.decontamination import program_tokens as gate_tokens
from snow_assets.curation.decontamination import renamed_identifiers as renamed
from snow_assets.curation.decontamination.gate import gate_hits
from snow_assets.curation.decontamination.prefilter import ProblemIndex, index_problems, prefilter
from snow_assets.recipe import SMOKE
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM
from tests.curation.builders import a_problem, a_program
from tests.curation.test_contamination_gate import DISGUISED
from tests.curation.test_contamination_gate import renamed as with_other_names

CASES = Path(__file__).resolve().parents[1] / "cases"
EXAMPLES = int(os.environ.get("SNOW_FUZZ_EXAMPLES", "300"))
WINDOW = 32
HUMAN_EVAL = pa.Table.from_pylist(read_problems(["HumanEval"]), schema=BENCHMARK_PROBLEM)


def index_of(problems: pa.Table, *, window: int = WINDOW) -> ProblemIndex:
    recipe = replace(SMOKE.curation.contamination, gate_window_tokens=window)
    return index_problems(problems, recipe=recipe)


INDEX = index_of(HUMAN_EVAL)
PARTS = {renamed.RENAMED: "solution", renamed.DESCRIPTION: "description"}

FRAGMENTS = st.sampled_from(
    [
        '"',
        "'",
        '"""',
        "'''",
        "\\",
        '\\"',
        "\n",
        "#",
        "//",
        "/*",
        "*/",
        "/",
        "*",
        "é",
        "\u3000",
        "漢",
        "x",
        "name",
        "for",
        "len",
        "12",
        "0x1f",
        "_",
        ";",
        "(",
        ")",
        " ",
        "\t",
        "\x00",
        "K",
        "=",
        "a1",
        "1a",
        "\r",
        "İ",
        "ab cd",
        "it's",
    ]
)


def by_filter(texts: list[str], index: ProblemIndex) -> set[tuple[str, str, str]]:
    suspects = prefilter(index)(pa.chunked_array([pa.array(texts, pa.string())]))
    return {
        (str(place), hit.problem_id, PARTS[hit.method])
        for place in np.flatnonzero(suspects.gate).tolist()
        for hit in index.renamed.hits(texts[place])
    }


def by_gate(texts: list[str], problems: pa.Table) -> set[tuple[str, str, str]]:
    named = [(str(place), text) for place, text in enumerate(texts)]
    return {
        (leak.document_id, leak.problem_id, leak.part)
        for leak in gate_hits(named, problems, window_tokens=WINDOW)
    }


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(FRAGMENTS, max_size=40).map("".join))
@example('x = "a\\"\n" + "b\\\n" /* c */ # d\n')
@example("/*/ a */ b /* c")
def test_both_read_the_same_tokens_in_any_text(text: str) -> None:
    ours = renamed._tokens(text.encode(), is_program=True)
    theirs = gate_tokens.program_tokens(text)
    assert (ours.kinds == renamed.NAME).tolist() == theirs.is_name.tolist()
    assert (ours.kinds != renamed.OTHER).tolist() == theirs.is_word.tolist()
    words = renamed._tokens(text.lower().encode(), is_program=False)
    assert len(words.codes) == len(gate_tokens.description_tokens(text).codes)


def test_what_the_gate_refuses_the_filter_finds_and_nothing_else() -> None:
    rows = read_problems(["HumanEval"])
    texts = [
        *(row["prompt"] + row["solution"] for row in rows),
        *(with_other_names("def f(x):\n" + row["solution"]) for row in rows),
        *("# " + row["prompt"].replace("\n", "\n# ").upper() for row in rows),
        *(a_program(f"between{number}") for number in range(20)),
        *(path.read_text(errors="replace") for path in sorted(CASES.rglob("*.py"))),
    ]
    found = by_gate(texts, HUMAN_EVAL)
    assert by_filter(texts, INDEX) == found
    assert len({document for document, _, _ in found}) > 350


def test_a_window_of_any_length_agrees_with_the_gate() -> None:
    problem: dict[str, Any] = a_problem()
    table = pa.Table.from_pylist([problem], schema=BENCHMARK_PROBLEM)
    for window in (16, 24, 40):
        index = index_of(table, window=window)
        texts = [DISGUISED, DISGUISED.replace("count += 1", "count -= 1"), a_program("other")]
        assert by_filter(texts, index) == by_gate(texts, table)
        assert ("0", "Task/1", "solution") in by_filter(texts, index)


def test_an_idiom_under_other_names_is_found_with_its_problem() -> None:
    text = (CASES / "48-idiom-stops-packs/src/lib/numbers_util.py").read_text()
    hits = INDEX.renamed.hits(text)
    assert ("HumanEval/31", "renamed") in {(hit.problem_id, hit.method) for hit in hits}
    assert all("if num % i == 0" in hit.evidence for hit in hits)


def test_a_consistent_renaming_is_found_and_an_inconsistent_one_is_not() -> None:
    text = (CASES / "48-idiom-stops-packs/src/lib/numbers_util.py").read_text()
    assert INDEX.renamed.hits(text.replace("num", "value"))
    assert INDEX.renamed.hits(text.replace("num % i", "other % i")) == []
    assert INDEX.renamed.hits(text.replace("num % i", "i % num")) == []


@pytest.mark.parametrize(
    "text",
    ["/*" * 500_000, '"\\' * 500_000, '"a' + '\\"' * 500_000, "'" * 999_999, "#/*'\"" * 200_000],
)
def test_what_is_never_closed_takes_no_longer_than_other_texts(text: str) -> None:
    INDEX.renamed.hits("")
    began = time.process_time()
    assert by_filter([text], INDEX) == by_gate([text], HUMAN_EVAL) == set()
    assert time.process_time() - began < 10
