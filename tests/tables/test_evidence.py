"""When data change, a table says which comparisons are about today's data, and by how much not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from snow_assets.storage.schemas.curation import DECISION, DOCUMENT
from snow_assets.storage.schemas.experiments import COMPARISON
from snow_assets.tables.evidence import evidence
from snow_assets.tables.sources import lake_tables
from snow_resources.warehouse import query
from tests.tables.conftest import publication
from tests.tables.lake import RECIPE, TinyLake, provenance, row_of, text_of

TOKENS = {"flask": 5, "old_one": 30, "old_two": 40, "new": 7}
DOCUMENTS: Mapping[str, tuple[str, ...]] = {"web": ("flask",), "native": ("old_one", "old_two")}


def put_clean(
    lake: TinyLake, sources: Mapping[str, tuple[str, ...]], *, fingerprint: str, point: bool = True
) -> None:
    """A clean corpus of sources, each with the names of its documents."""
    decisions = [
        row_of(
            DECISION,
            **{**provenance(name), "source": source},
            text_id=text_of(name),
            language="python",
            kept=True,
            split="train",
            num_tokens=TOKENS[name],
        )
        for source, names in sources.items()
        for name in names
    ]
    decisions.append(row_of(DECISION, **provenance("dropped"), reason="too_large"))
    for source, names in sources.items():
        content = [row_of(DOCUMENT, **provenance(name)) for name in names]
        lake.put(
            "documents",
            {"documents": (DOCUMENT, content)},
            partition=source,
            fingerprint="-".join(names),
            point=point,
        )
    lake.put(
        "clean_corpus",
        {"decisions": (DECISION, decisions)},
        partition="python",
        fingerprint=fingerprint,
        inputs=[("documents", source) for source in sources],
        point=point,
    )


def put_arm(lake: TinyLake, name: str, *, clean: str) -> None:
    """An arm with a seed; the checkpoint is trained on the corpus last put, `clean` is the
    recipe's corpus then."""
    packs, checkpoint = ("continued_packs", "all"), ("continued_checkpoint", "all")
    lake.put(*packs[:1], {}, fingerprint=name, inputs=[("clean_corpus", "python")], point=False)
    lake.put(*checkpoint[:1], {}, fingerprint=name, inputs=[packs], point=False)
    lake.made["clean_corpus", "python"] = BASE[clean]
    partition = f"paper_claims-{name}-0"
    lake.put(
        "experiment_arms",
        {},
        partition=partition,
        fingerprint=name,
        inputs=[("clean_corpus", "python"), checkpoint],
    )


BASE: dict[str, Any] = {}


@pytest.fixture
def lake(lake_url: str) -> TinyLake:
    """Comparisons of two arms on the recipe's corpus, and of two without the source `native`."""
    lake = TinyLake(lake_url)
    without = {"web": DOCUMENTS["web"]}
    put_clean(lake, without, fingerprint="narrow", point=False)
    narrow = lake.made["clean_corpus", "python"]
    put_clean(lake, DOCUMENTS, fingerprint="whole")
    BASE["whole"] = whole = lake.made["clean_corpus", "python"]
    for name, corpus in (
        ("first", whole),
        ("second", whole),
        ("narrow", narrow),
        ("narrow_again", narrow),
    ):
        lake.made["clean_corpus", "python"] = corpus
        put_arm(lake, name, clean="whole")
    compared = [("second", "first"), ("narrow", "first"), ("narrow_again", "narrow")]
    lake.put(
        "experiment_comparisons",
        {
            "comparisons": (
                COMPARISON,
                [
                    row_of(
                        COMPARISON,
                        experiment="paper_claims",
                        arm=arm,
                        baseline=baseline,
                        outcome="better",
                    )
                    for arm, baseline in compared
                ],
            )
        },
        partition="paper_claims",
        inputs=[
            ("experiment_arms", f"paper_claims-{name}-0")
            for name in ("first", "second", "narrow", "narrow_again")
        ],
    )
    return lake


def arms(lake: TinyLake) -> dict[str, dict[str, Any]]:
    tables = lake_tables(lake.url, lake.current(), recipe=RECIPE, project="")
    return {row["arm"]: row for row in evidence(lake.url, tables.artifacts).to_pylist()}


def counts(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("left_documents", "left_tokens", "entered_documents", "entered_tokens")
    return tuple(row[name] for name in names)


def test_on_today_s_data_nothing_is_stale(lake: TinyLake) -> None:
    found = arms(lake)
    assert set(found) == {"first", "second", "narrow", "narrow_again"}
    assert not any(row["is_stale"] for row in found.values())
    assert {row["changed"] for row in found.values()} == {None}


def test_a_dropped_source_makes_stale_what_was_trained_on_it(lake: TinyLake) -> None:
    put_clean(lake, {"web": DOCUMENTS["web"]}, fingerprint="narrow")
    found = arms(lake)
    assert {name for name, row in found.items() if row["is_stale"]} == {"first", "second"}
    assert counts(found["first"]) == (2, 70, 0, 0)
    assert found["first"]["changed"] == "clean_corpus [python]"
    assert counts(found["narrow"]) == (0, 0, 0, 0)


def test_a_new_snapshot_of_a_source_makes_every_arm_stale_that_reads_it(lake: TinyLake) -> None:
    put_clean(lake, {**DOCUMENTS, "web": ("flask", "new")}, fingerprint="newer")
    found = arms(lake)
    assert all(row["is_stale"] for row in found.values())
    assert {counts(row) for row in found.values()} == {(0, 0, 1, 7)}
    assert found["narrow"]["changed"] == "documents [web]"


def test_of_a_purged_corpus_the_tokens_are_unknown(lake: TinyLake) -> None:
    put_clean(lake, {"web": DOCUMENTS["web"]}, fingerprint="narrow")
    (Path(lake.url) / "clean_corpus" / "python" / "whole" / "manifest.json").unlink()
    first = arms(lake)["first"]
    assert first["is_stale"]
    assert counts(first) == (None, None, None, None)


def test_the_published_table_names_stale_comparisons(tables_folder: Path, lake: TinyLake) -> None:
    put_clean(lake, {"web": DOCUMENTS["web"]}, fingerprint="narrow")
    published = publication(tables_folder, "evidence", lake)
    assert published.materialize().success
    rows = query(
        published.warehouse.path,
        "select arm, baseline, outcome, is_stale, left_tokens from comparison_evidence "
        "order by is_stale, arm",
    ).rows
    assert rows == [
        ("narrow_again", "narrow", "better", False, 0),
        ("narrow", "first", "better", True, 70),
        ("second", "first", "better", True, 70),
    ]
