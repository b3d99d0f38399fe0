import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pytest

from snow_assets.curation.dedup.canonical_documents import REPOSITORY
from snow_assets.curation.sampling import stable_share
from snow_assets.curation.split import (
    held_out_repositories,
    put_held_out_repositories,
    read_held_out,
    split_shortfalls,
)
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DECISION
from tests.artifacts import finish
from tests.curation.builders import RECIPE, a_file

Row = tuple[str, str, int]  # repository, language, bytes


def table(*rows: Row, source: str = "s") -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"source": source, "repository": name, "language": language, "num_bytes": size}
            for name, language, size in rows
        ]
    )


def held_out(
    *tables: pa.Table, share: float = 0.1, tolerance: float = 0.2, seed: int = 0, **changed: Any
) -> frozenset[str]:
    return frozenset(
        held_out_repositories(
            pa.concat_tables(tables), share=share, tolerance=tolerance, seed=seed, **changed
        )
    )


def shares(rows: Iterable[Row], names: frozenset[str]) -> dict[str, float]:
    """Of each language, the share of bytes that is held out."""
    total, held = Counter[str](), Counter[str]()
    for name, language, size in rows:
        total[language] += size
        held[language] += size * (name in names)
    return {language: held[language] / total[language] for language in total}


def skewed(count: int, *, source: str = "s", languages: int = 3) -> list[Row]:
    """Repositories of Zipf's sizes, each of one or two languages."""
    return [
        (f"{source}{number}", f"language{(number + more) % languages}", 10_000_000 // (number + 1))
        for number in range(count)
        for more in range(1 + number % 2)
    ]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_each_language_holds_out_the_share_of_its_bytes_within_the_tolerance(
    share: float, seed: int
) -> None:
    rows = skewed(3_000)
    names = held_out(table(*rows), share=share, seed=seed)
    for value in shares(rows, names).values():
        assert 0.8 * share <= value <= 1.2 * share


def test_the_choice_does_not_depend_on_the_order_of_rows() -> None:
    rows = skewed(500)
    assert held_out(table(*rows)) == held_out(table(*rows[::-1]))
    assert held_out(table(*rows)) != held_out(table(*rows), seed=1)


@pytest.mark.parametrize("seed", range(20))
def test_one_large_repository_is_never_held_out_for_its_hash(seed: int) -> None:
    rows = [("giant", "javascript", 98_000_000)]
    rows += [(f"small{number}", "javascript", 20_000) for number in range(100)]
    names = held_out(table(*rows), share=0.01, tolerance=0.5, seed=seed)
    assert "giant" not in names
    assert 0.005 <= shares(rows, names)["javascript"] <= 0.015


@pytest.mark.parametrize("seed", range(5))
def test_with_many_equal_repositories_the_hash_alone_decides(seed: int) -> None:
    rows = [(f"repo{number}", "python", 1_000) for number in range(5_000)]
    names = held_out(table(*rows), seed=seed)
    assert names == {name for name, _, _ in rows if stable_share(name, seed=seed) < 0.1}


def test_a_language_of_few_repositories_gives_up_its_smallest_if_that_is_small() -> None:
    rows = [("a", "sql", 600), ("b", "sql", 250), ("c", "sql", 150)]
    assert held_out(table(*rows), share=1e-9) == {"c"}


@pytest.mark.parametrize(
    "rows",
    [
        [("a", "sql", 100)],
        [("a", "sql", 100), ("b", "sql", 100)],  # half a language is too much
        [("a", "sql", 100), ("a", "c", 10), ("b", "c", 90)],  # its c is small, its sql all there is
    ],
)
def test_a_language_that_cannot_spare_a_repository_is_trained_on(rows: list[Row]) -> None:
    for seed in range(5):
        assert shares(rows, held_out(table(*rows), seed=seed))["sql"] == 0


@pytest.mark.parametrize("seed", range(10))
def test_a_source_that_is_added_moves_no_repository(seed: int) -> None:
    order = ["old", "new", "a later one"]
    tables = [table(*skewed(300, source=name), source=name) for name in order]
    before: frozenset[str] = frozenset()
    for count in range(1, 4):
        names = held_out(*tables[:count], seed=seed, source_order=order)
        known = {row["repository"] for part in tables[: count - 1] for row in part.to_pylist()}
        assert names & known == before
        before = names


def test_a_repository_that_comes_again_stays_on_its_side() -> None:
    first = table(*skewed(300), source="first")
    again = table(
        *((name, language, size * 3) for name, language, size in skewed(300)), source="again"
    )
    order = ["first", "again"]
    assert held_out(first, again, source_order=order) == held_out(first, source_order=order)


def put_repositories(lake: str, repositories: pa.Table) -> str:
    folder = f"{lake}/near_duplicates/all/{'0' * 32}"
    rows = repositories.append_column("num_canonical", pa.array([1] * len(repositories)))
    shards.put_table(folder, "repositories", 0, rows.select(REPOSITORY.names), REPOSITORY)
    return finish(folder)


def test_a_language_reads_its_own_held_out_repositories_alone(lake_url: str) -> None:
    repositories = table(*skewed(2_000))
    folder = f"{lake_url}/held_out_repositories/all/{'0' * 32}"
    stats = put_held_out_repositories(
        put_repositories(lake_url, repositories), folder, recipe=RECIPE
    )
    names = held_out(
        repositories,
        share=RECIPE.held_out_fraction,
        tolerance=RECIPE.held_out_tolerance,
        seed=RECIPE.seed,
    )
    assert stats == {"repositories": 2_000, "held_out_repositories": len(names)}
    finish(folder)
    assert read_held_out(folder) == names
    for number in range(3):
        language = f"language{number}"
        of_language = {
            row["repository"] for row in repositories.to_pylist() if row["language"] == language
        }
        assert read_held_out(folder, language=language) == names & of_language
    assert read_held_out(folder, language="a language without documents") == frozenset()
    shards.put(f"{folder}/repositories-00001.parquet", b"damaged")
    assert read_held_out(folder, language="language0") < names
    with pytest.raises(shards.DamagedFileError):
        read_held_out(folder, language="language1")


def test_the_choice_takes_linear_time() -> None:
    seconds = []
    for count in (20_000, 80_000):
        part = table(*skewed(count))
        began = time.process_time()
        held_out(part)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 12 * seconds[0]


def test_a_share_is_uniform_and_its_own_for_each_seed() -> None:
    shares = [stable_share(str(n), seed=0) for n in range(1_000)]
    assert abs(sum(shares) / 1_000 - 0.5) < 0.05 and min(shares) >= 0 and max(shares) < 1
    assert stable_share("x", seed=0) != stable_share("x", seed=1)


def corpus(lake: str) -> str:
    def row(name: str, split: str | None, cluster: str, text: str) -> dict[str, object]:
        received = a_file(f"{name}.py", name)
        return {
            **{key: value for key, value in received.items() if key in DECISION.names},
            "document_id": name,
            "text_id": text,
            "language": "python",
            "num_bytes": 1,
            "kept": split is not None,
            "reason": None if split else "near_duplicate",
            "evidence": None,
            "cluster_id": cluster,
            "split": split,
            "num_tokens": 1 if split else None,
        }

    folder = f"{lake}/clean_corpus/python/{'0' * 32}"
    rows = [
        row("trained", "train", "trained", "t1"),
        row("held", "held_out", "held", "t2"),
        row("near_copy", None, "held", "t3"),
        row("twin", None, "elsewhere", "t2"),
    ]
    shards.put_table(folder, "decisions", 0, rows, DECISION, stats={"documents": ""})
    return finish(folder)


def test_a_share_that_the_repositories_do_not_allow_is_told_with_the_reason(lake_url: str) -> None:
    folder = corpus(lake_url)
    (shortfall,) = split_shortfalls([folder], share=0.1, tolerance=0.5)
    assert shortfall.startswith(
        "python: 50.00% of the bytes are held out, and the recipe's share is"
    )
    assert "1 repositories do not divide so, the largest, lib, is 100%" in shortfall
    assert split_shortfalls([folder], share=0.5, tolerance=0.01) == []
