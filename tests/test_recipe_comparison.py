"""Two recipes' data side by side: what enters and leaves and why, scores, the cut, the mixes."""

from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from snow_assets.cli.compare import show
from snow_assets.planning.recipe_comparison import RecipeComparison, compare_recipes
from snow_assets.recipe import SMOKE
from snow_assets.storage.schemas.curation import DECISION, DUPLICATE_CLUSTER
from snow_assets.storage.schemas.quality import SELECTION
from snow_resources.lake import Lake
from tests.tables.lake import TinyLake, provenance, row_of, text_of

LOOSE, STRICT = (
    replace(SMOKE, name=name, curation=replace(SMOKE.curation, languages=("python",)))
    for name in ("LOOSE", "STRICT")
)
TOKENS = {"best": 10, "good": 20, "fair": 30, "short": 40}
# document -> reason, repeats, logit
Documents = dict[str, tuple[str | None, int, float]]
BEFORE: Documents = {
    "best": (None, 4, 3.0),
    "good": (None, 4, 2.0),
    "fair": (None, 0, 1.0),
    "short": (None, 0, 0.0),
}
AFTER: Documents = {
    "best": (None, 4, 3.5),
    "good": (None, 0, 1.0),
    "fair": (None, 4, 2.0),
    "short": ("too_short", 0, 0.0),
}


def put(lake_url: str, recipe: str, documents: Documents, *, subsets: bool = True) -> None:
    lake = TinyLake(lake_url, recipe=recipe)
    kept = {name: item for name, item in documents.items() if item[0] is None}
    lake.put(
        "clean_corpus",
        {
            "decisions": (
                DECISION,
                [
                    row_of(
                        DECISION,
                        **provenance(name, repository=f"{name}/lib"),
                        text_id=text_of(name),
                        language="python",
                        kept=reason is None,
                        reason=reason,
                        num_tokens=TOKENS[name] if reason is None else None,
                    )
                    for name, (reason, _, _) in documents.items()
                ],
            )
        },
        partition="python",
        fingerprint=recipe,
    )
    clusters = [
        row_of(DUPLICATE_CLUSTER, document_id=f"copy {number}", kind="near")
        for number in range(len(kept))
    ]
    lake.put("near_duplicates", {"clusters": (DUPLICATE_CLUSTER, clusters)}, fingerprint=recipe)
    if not subsets:
        return
    selection = [
        row_of(
            SELECTION,
            document_id=provenance(name)["document_id"],
            text_id=text_of(name),
            num_tokens=TOKENS[name],
            logit=logit,
            percentile=logit / 10,
            repeats=repeats,
        )
        for name, (_, repeats, logit) in kept.items()
    ]
    lake.put(
        "high_quality_subset",
        {"documents": (SELECTION, selection)},
        partition="python",
        fingerprint=recipe,
    )


def compared(lake_url: str) -> RecipeComparison:
    return compare_recipes(Lake(url=lake_url), LOOSE, STRICT)


@pytest.fixture
def comparison(lake_url: str) -> RecipeComparison:
    put(lake_url, "LOOSE", BEFORE)
    put(lake_url, "STRICT", AFTER)
    return compared(lake_url)


def test_documents_enter_and_leave_with_reasons(comparison: RecipeComparison) -> None:
    changes = {
        (row["scope"], row["direction"], row["reason"]): (row["num_documents"], row["num_tokens"])
        for row in comparison.tables["changes"]
    }
    assert changes == {
        ("clean_corpus", "left", "too_short"): (1, 40),
        ("high_quality_subset", "left", "below the cut"): (1, 20),
        ("high_quality_subset", "entered", "below the cut before"): (1, 30),
    }


def test_what_a_recipe_does_not_read_is_named(lake_url: str) -> None:
    put(lake_url, "LOOSE", {"best": BEFORE["best"], "short": ("too_short", 0, 0.0)})
    put(lake_url, "STRICT", {"good": BEFORE["good"], "short": BEFORE["short"]})
    reasons = {
        (row["direction"], row["reason"])
        for row in compared(lake_url).tables["changes"]
        if row["scope"] == "clean_corpus"
    }
    assert reasons == {
        ("left", "not read any more"),
        ("entered", "not read before"),
        ("entered", "dropped before: too_short"),
    }


def test_scores_drift_and_the_files_at_the_cut_stand_side_by_side(
    comparison: RecipeComparison,
) -> None:
    (drift,) = comparison.tables["score_drift"]
    assert drift["num_documents"] == 3
    assert drift["mean_logit_change"] == pytest.approx((0.5 - 1 + 1) / 3)
    files: dict[int, tuple[Any, ...]] = {
        row["position"]: (row["path_before"], row["path_after"])
        for row in comparison.tables["boundary_files"]
    }
    assert files[-1] == ("good/lib/good.py", "fair/lib/fair.py")
    assert files[1] == ("fair/lib/fair.py", "good/lib/good.py")


def test_mixes_are_shares_of_tokens_and_duplicates_are_counted(
    comparison: RecipeComparison,
) -> None:
    shares = {
        (row["scope"], row["name"]): (row["share_before"], row["share_after"])
        for row in comparison.tables["mixes"]
        if row["kind"] == "repository"
    }
    assert shares["clean_corpus", "short/lib"] == (pytest.approx(0.4), 0.0)
    assert shares["high_quality_subset", "good/lib"] == (pytest.approx(2 / 3), 0.0)
    assert comparison.tables["duplicates"] == [{"kind": "near", "num_before": 4, "num_after": 3}]


def test_a_comparison_is_stored_once_with_its_date_and_printed(
    lake_url: str, comparison: RecipeComparison
) -> None:
    again = compared(lake_url)
    assert (again.folder, again.finished) == (comparison.folder, comparison.finished)
    assert again.tables == comparison.tables
    console = Console(width=150, record=True)
    show(console, comparison)
    text = console.export_text()
    assert "too_short" in text
    assert "good/lib/good.py" in text
    assert comparison.folder in text.replace("\n", "")


def test_corpora_are_compared_before_anything_is_selected(lake_url: str) -> None:
    put(lake_url, "LOOSE", BEFORE)
    put(lake_url, "STRICT", AFTER, subsets=False)
    comparison = compared(lake_url)
    assert not comparison.has_subsets
    assert [row["reason"] for row in comparison.tables["changes"]] == ["too_short"]
    assert comparison.tables["boundary_files"] == []


def test_what_is_missing_and_one_name_for_two_recipes_are_refused(lake_url: str) -> None:
    put(lake_url, "LOOSE", BEFORE)
    with pytest.raises(FileNotFoundError, match=r"clean_corpus \[python\] was never .* STRICT"):
        compared(lake_url)
    with pytest.raises(ValueError, match="give the changed one another name"):
        compare_recipes(Lake(url=lake_url), LOOSE, replace(STRICT, name="LOOSE"))
