import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_assets.curation.dedup.candidates import _MAX_ALL_PAIRS, _NUM_PIVOTS
from snow_assets.curation.dedup.connected_components import connected_components
from snow_assets.curation.dedup.minhash import distinct_pairs
from snow_assets.curation.dedup.shingles import band_hashes, jaccard, shingles
from snow_assets.curation.dedup.text_keys import find_keys
from snow_assets.curation.hashing import Hashes
from snow_assets.curation.violations import validate_clusters
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DUPLICATE_CLUSTER
from tests.artifacts import finish
from tests.curation.builders import (
    RECIPE,
    a_file,
    a_program,
    documents,
    near_duplicates,
    raw_corpus,
)

BASE = a_program("base", functions=40)
NEAR = BASE.replace("return", "yield", 3)
COPIES = [
    a_file("b/base.py", BASE, repository="two"),
    a_file("a/base.py", BASE, repository="two"),
    a_file("z/near.py", NEAR, repository="one"),
    a_file("other.py", a_program("other"), repository="one"),
    a_file("same.c", "int x;\n" * 3 + a_program("c"), repository="two"),
    a_file("short.py", "alpha = 1\n", repository="three"),
    a_file("short_too.py", "alpha  =  1\n\n", repository="three"),
]


def clusters(lake: str, files: list[dict[str, object]]) -> dict[str, tuple[object, ...]]:
    """Path -> canonical document's path and kind."""
    made = [
        documents(lake, raw_corpus(lake, files[start::2], source=f"s{start}", per_shard=2))
        for start in range(2)
    ]
    found = near_duplicates(lake, made)
    assert validate_clusters(found) == []
    paths = {
        row["document_id"]: row["path"]
        for folder in made
        for row in shards.read(folder, "documents", columns=["document_id", "path"]).to_pylist()
    }
    return {
        paths[row["document_id"]]: (paths[row["cluster_id"]], row["kind"])
        for row in shards.read(found, "clusters").to_pylist()
    }


def test_planted_copies_are_found_and_the_smallest_name_is_kept(lake_url: str) -> None:
    assert clusters(lake_url, COPIES) == {
        "z/near.py": ("z/near.py", None),  # repository `one` comes first
        "a/base.py": ("z/near.py", "near"),
        "b/base.py": ("z/near.py", "exact"),
        "other.py": ("other.py", None),
        "same.c": ("same.c", None),
        "short.py": ("short.py", None),
        "short_too.py": ("short.py", "near"),
    }


def test_the_order_of_sources_files_and_shards_changes_nothing(lake_url: str) -> None:
    expected = clusters(f"{lake_url}/0", COPIES)
    for seed in range(1, 4):
        shuffled = random.Random(seed).sample(COPIES, len(COPIES))
        assert clusters(f"{lake_url}/{seed}", shuffled) == expected


def test_every_pair_is_verified_by_its_real_jaccard(lake_url: str) -> None:
    files = [
        a_file(f"{n}.py", a_program("base", functions=20) + a_program(f"m{n}", functions=n))
        for n in range(12)
    ]
    made = documents(lake_url, raw_corpus(lake_url, files))
    found = near_duplicates(lake_url, [made])
    texts = {row["text_id"]: row["text"] for row in shards.read(made, "documents").to_pylist()}
    (verified,) = shards.input_folders(found, "verified_pairs")
    (candidates,) = shards.input_folders(verified, "candidate_pairs")
    pairs = shards.read(verified, "pairs").to_pylist()
    assert shards.manifest(candidates).stats["candidate_pairs"] > len(pairs) > 0
    for pair in pairs:
        one, other = texts[pair["text_id"]], texts[pair["other_text_id"]]
        assert pair["text_id"] < pair["other_text_id"]
        assert pair["jaccard"] == jaccard(shingles(one, words=5), shingles(other, words=5)) >= 0.7


def test_a_document_that_fails_the_rules_takes_no_part(lake_url: str) -> None:
    filters = dataclasses.replace(RECIPE.filters, max_lines=5)
    recipe = dataclasses.replace(RECIPE, filters=filters)
    made = documents(lake_url, raw_corpus(lake_url, COPIES[:2] + COPIES[5:6]))
    found = near_duplicates(lake_url, [made], recipe=recipe)
    assert shards.manifest(found).stats["documents"] == 1


def test_no_documents_are_no_clusters(lake_url: str) -> None:
    made = documents(lake_url, raw_corpus(lake_url, []))
    found = near_duplicates(lake_url, [made])
    assert shards.manifest(found).stats["documents"] == 0
    assert validate_clusters(found) == []


def test_shingles_are_what_a_plain_definition_says() -> None:
    import re

    text = "def f(x):\n  return  x_1 + naïve('ü', 2)\n\ndef f(x):\n  return x_1"
    words = re.findall(r"\w+", text)
    expected = {tuple(words[n : n + 5]) for n in range(len(words) - 4)}
    assert len(shingles(text, words=5)) == len(expected)
    assert len(shingles("one two", words=5)) == 1
    assert len(shingles("()", words=5)) == 0
    assert jaccard(shingles("()", words=5), shingles("[]", words=5)) == 0


@pytest.mark.parametrize(("share", "low", "high"), [(0.9, 0.97, 1.0), (0.3, 0.0, 0.2)])
def test_bands_agree_as_often_as_the_theory_says(share: float, low: float, high: float) -> None:
    chance = random.Random(0)
    agreed = 0
    for _ in range(60):
        common = [f"w{chance.random()}" for _ in range(int(400 * share))]
        rest = [[f"w{chance.random()}" for _ in range(400 - len(common))] for _ in range(2)]
        one, other = (
            band_hashes(shingles(" ".join(common + more), words=1), bands=42, rows_per_band=6)
            for more in rest
        )
        agreed += bool((one == other).any())
    assert low <= agreed / 60 <= high


def test_a_crowded_bucket_stays_connected_with_few_pairs() -> None:
    def pairs(size: int) -> tuple[Hashes, Hashes]:
        texts = np.arange(size, dtype=np.uint64)
        return distinct_pairs(texts, np.array([0, size]), _MAX_ALL_PAIRS, _NUM_PIVOTS)

    ones, others = (side.astype(np.int64) for side in pairs(1_000))
    assert len(ones) < 10_000
    assert set(connected_components(ones, others, 1_000).tolist()) == {0}
    assert len(pairs(10)[0]) == 45


def test_the_check_sees_kept_copies_and_clusters_without_canonical_document(lake_url: str) -> None:
    made = documents(lake_url, raw_corpus(lake_url, COPIES[:3]))
    found = near_duplicates(lake_url, [made])
    verified = shards.input_folders(found, "verified_pairs")
    rows = shards.read(found, "clusters").to_pylist()
    broken = f"{lake_url}/near_duplicates/all/broken"
    shards.put_table(
        broken,
        "clusters",
        0,
        [{**row, "is_canonical": row["kind"] is not None} for row in rows[:1] + rows[2:]]
        + [{**rows[0], "cluster_id": "lost", "is_canonical": False}],
        DUPLICATE_CLUSTER,
    )
    wrong = validate_clusters(finish(broken, inputs=verified))
    assert "cluster lost has no canonical document" in wrong
    everyone = f"{lake_url}/near_duplicates/all/everyone"
    alive = [{**row, "is_canonical": True} for row in rows]
    shards.put_table(everyone, "clusters", 0, alive, DUPLICATE_CLUSTER)
    wrong = validate_clusters(finish(everyone, inputs=verified))
    assert [fault.split()[-1] for fault in wrong] == ["documents", "times", "kept"]


@given(
    st.sets(st.integers(0, 20)),
    st.lists(st.integers(0, 20)),
)
def test_keys_are_found_among_ascending_ones(present: set[int], keys: list[int]) -> None:
    ascending = np.array(sorted(present), np.uint64)
    is_present, indices = find_keys(ascending, np.array(keys, np.uint64))
    assert is_present.tolist() == [key in present for key in keys]
    assert ascending[indices].tolist() == [key for key in keys if key in present]
