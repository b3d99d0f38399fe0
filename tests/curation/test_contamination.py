import pyarrow as pa
import pytest

from snow_assets.corpus.problems import read_problems
from snow_assets.curation.decontamination.prefilter import hits, index_problems
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM
from tests.curation.builders import (
    RECIPE,
    a_file,
    a_problem,
    a_program,
    contamination,
    documents,
    problems,
    raw_corpus,
)

PROBLEM = a_problem()
INDEX = index_problems(
    pa.Table.from_pylist([PROBLEM], schema=BENCHMARK_PROBLEM), recipe=RECIPE.contamination
)


def methods(text: str) -> list[tuple[str, str]]:
    return [(hit.problem_id, hit.method) for hit in hits(text, INDEX)]


def test_a_solution_with_other_white_space_and_case_is_a_substring() -> None:
    moved = "class Api:\n" + PROBLEM["solution"].replace("    ", "\t\t").upper()
    assert ("Task/1", "substring") in methods(moved)


def test_a_quoted_description_in_comments_is_an_ngram() -> None:
    comment = "# " + PROBLEM["prompt"].split('"""')[1].replace("\n", "\n# ").replace(",", ";")
    assert methods(comment) == [("Task/1", "description"), ("Task/1", "ngram")]
    assert all("closed intervals" in hit.evidence for hit in hits(comment, INDEX))


def test_code_that_quotes_nothing_is_clean() -> None:
    assert methods(a_program("clean")) == []
    assert methods("for i in range(1, 2, 3):\n" * 20) == []
    assert methods("") == []


def test_runs_of_numbers_do_not_count_as_ngrams() -> None:
    numbers = ", ".join(map(str, range(40)))
    table = pa.Table.from_pylist(
        [a_problem(solution=f"    return [{numbers}]\n")], schema=BENCHMARK_PROBLEM
    )
    index = index_problems(table, recipe=RECIPE.contamination)
    assert hits(f"DIGITS = ({numbers})", index) == []


def test_hits_stand_beside_their_documents_with_evidence(lake_url: str) -> None:
    files = [
        a_file("clean.py", a_program("clean")),
        a_file("renamed_file.py", "import os\n\n\n" + PROBLEM["prompt"] + PROBLEM["solution"]),
    ]
    made = documents(lake_url, raw_corpus(lake_url, files, per_shard=1))
    found = contamination(lake_url, made, problems(lake_url, [PROBLEM]))
    rows = shards.read(found, "hits").to_pylist()
    assert {row["document_id"] for row in rows} == {files[1]["document_id"]}
    assert {row["method"] for row in rows} == {"substring", "ngram", "renamed", "description"}
    assert all(row["evidence"] for row in rows)
    assert shards.manifest(found).stats == {"problems": 1, "hits": 4}


@pytest.mark.parametrize("part", ["whole", "prompt"])
def test_every_humaneval_problem_is_found_in_a_copy(part: str) -> None:
    rows = read_problems(["HumanEval"])
    table = pa.Table.from_pylist(rows, schema=BENCHMARK_PROBLEM)
    index = index_problems(table, recipe=RECIPE.contamination)
    missed = [
        row["problem_id"]
        for row in rows
        if row["problem_id"]
        not in {
            hit.problem_id
            for hit in hits(row["prompt"] + (row["solution"] if part == "whole" else ""), index)
        }
    ]
    assert missed == []
