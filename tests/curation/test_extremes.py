"""Corpora of an odd shape go through every stage of curation, and each file is accounted for."""

import os

import pyarrow.compute as pc
import pytest

from snow_assets.storage import shards
from tests.curation.builders import (
    a_file,
    a_problem,
    a_program,
    contamination,
    documents,
    near_duplicates,
    problems,
    raw_corpus,
)

GIANT_BYTES = int(os.environ.get("SNOW_GIANT_BYTES", "20000000"))
TINY_FILES = int(os.environ.get("SNOW_TINY_FILES", "20000"))

pytestmark = pytest.mark.slow


def test_a_giant_file_is_one_document_like_any_other(lake_url: str) -> None:
    functions = "\n\n".join(a_program(f"part{number}", functions=200) for number in range(20))
    leak = str(a_problem()["prompt"]) + str(a_problem()["solution"])
    giant = functions * (GIANT_BYTES // len(functions) + 1) + "\n\n" + leak
    small = a_program("small")
    raw = raw_corpus(lake_url, [a_file("giant.py", giant), a_file("small.py", small)])
    made = documents(lake_url, raw)
    table = shards.read(made, "documents")
    assert dict(zip(table["path"].to_pylist(), table["num_bytes"].to_pylist(), strict=True)) == {
        "giant.py": len(giant),
        "small.py": len(small),
    }
    known = problems(lake_url, [a_problem()])
    hits = shards.read(contamination(lake_url, made, known), "hits")
    giant_id = dict(zip(table["path"].to_pylist(), table["document_id"].to_pylist(), strict=True))[
        "giant.py"
    ]
    assert set(hits["document_id"].to_pylist()) == {giant_id}
    clusters = shards.read(near_duplicates(lake_url, [made]), "clusters")
    # Over 100,000 lines, which a rule drops before copies are looked for.
    assert clusters["document_id"].to_pylist() != []
    assert giant_id not in clusters["document_id"].to_pylist()


def test_of_many_tiny_files_none_is_lost(lake_url: str) -> None:
    files = [
        a_file(f"{number}.py", f"x{number} = 'value of {number // 2}'\n")
        for number in range(TINY_FILES)
    ]
    files += [a_file(f"copy{number}.py", files[number]["content"]) for number in range(10)]
    files += [a_file("empty.py", "")]
    made = documents(lake_url, raw_corpus(lake_url, files, per_shard=8_000))
    manifest = shards.manifest(made)
    assert (manifest.stats["documents"], manifest.stats["dropped_empty"]) == (TINY_FILES + 10, 1)
    found = near_duplicates(lake_url, [made])
    clusters = shards.read(found, "clusters")
    assert len(clusters) == TINY_FILES + 10
    assert pc.sum(pc.equal(clusters["kind"], "exact")).as_py() == 10
    assert len(set(clusters["document_id"].to_pylist())) == TINY_FILES + 10
