"""Cut, curve, drift, agreement and sample of a scored language, beside plain computations."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snow_assets.defs.graph import STAGES, stage_of
from snow_assets.quality.auc import roc_auc
from snow_assets.quality.correlation import rank_correlation
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DECISION
from snow_assets.storage.schemas.quality import LANGUAGE_SELECTION, SCORE, SELECTION
from snow_assets.tables import sources
from snow_resources.warehouse import query
from tests.tables.builders import scores
from tests.tables.conftest import publication
from tests.tables.lake import TinyLake, provenance, row_of, sha, text_of

pytestmark = pytest.mark.slow

NUMBER = 200
NAMES = [f"file-{index}" for index in range(NUMBER)]
_RANDOM = random.Random(1)
# Eighths: ties are common, and exact in single precision.
FORMER = {name: _RANDOM.randrange(-32, 32) / 8 for name in NAMES}
NEWER = {name: FORMER[name] / 2 + _RANDOM.randrange(-8, 16) / 8 for name in NAMES}
OTHER = {name: NEWER[name] + _RANDOM.randrange(-24, 24) / 8 for name in NAMES}
TOKENS = {name: _RANDOM.randrange(10, 100) for name in NAMES}
GRADES = {name: _RANDOM.randrange(0, 6) for name in NAMES[:60]}
SELECTED_SHARE = 0.2


def ranked() -> list[str]:
    return sorted(NAMES, key=lambda name: (-NEWER[name], text_of(name)))


def selected() -> set[str]:
    """From the top, until a fifth of the tokens is full."""
    chosen, tokens = set(), 0
    for name in ranked():
        if tokens >= SELECTED_SHARE * sum(TOKENS.values()):
            break
        chosen.add(name)
        tokens += TOKENS[name]
    return chosen


def a_scored_lake(url: str, *, selecting: str = "second") -> TinyLake:
    lake = TinyLake(url=url)
    decisions = [
        row_of(
            DECISION,
            **provenance(name),
            text_id=text_of(name),
            language="python",
            num_bytes=100,
            kept=True,
            split="train",
            num_tokens=TOKENS[name],
        )
        for name in NAMES
    ]
    lake.put("clean_corpus", {"decisions": (DECISION, decisions)}, partition="python")
    for fingerprint, annotator, given in (("1", "first", FORMER), ("2", "second", NEWER)):
        table = {"scores": (SCORE, scores(annotator, given))}
        lake.put(
            "quality_scores",
            table,
            partition="python",
            fingerprint=fingerprint,
            point=annotator == "second",
        )
    # The former annotator's scores once more, as an artifact of an older corpus holds them.
    again = {"scores": (SCORE, scores("first", {name: FORMER[name] for name in NAMES[:50]}))}
    lake.put("quality_scores", again, partition="python", fingerprint="0", point=False)
    further = {"scores": (SCORE, scores("third", OTHER))}
    lake.put("other_quality_scores", further, partition="python")
    former = {"scores": (SCORE, scores("fourth", FORMER))}
    lake.put("other_quality_scores", former, partition="python", fingerprint="0", point=False)
    below, subset = sum(TOKENS.values()), []
    for name in ranked():
        below -= TOKENS[name]
        subset.append(
            row_of(
                SELECTION,
                document_id=sha(name),
                text_id=text_of(name),
                repository="flask",
                license="MIT",
                num_tokens=TOKENS[name],
                logit=NEWER[name],
                percentile=below / sum(TOKENS.values()),
                repeats=4 if name in selected() else 0,
            )
        )
    language = row_of(LANGUAGE_SELECTION, language="python", annotator=selecting)
    table = {
        "documents": (SELECTION, subset),
        "languages": (LANGUAGE_SELECTION, [language]),
    }
    scores_asset = "quality_scores" if selecting == "second" else "other_quality_scores"
    inputs = [(scores_asset, "python")]
    lake.put("high_quality_subset", table, partition="python", inputs=inputs)
    names = list(GRADES)
    graded = "".join(f"{sha(name)},{GRADES[name]},ada\n" for name in names[:40])
    shards.put(f"{url}/labels/ada.csv", f"document_id,grade,grader\n{graded}".encode())
    graded = "".join(f"{text_of(name)},{GRADES[name]},model-1\n" for name in names[40:])
    shards.put(f"{url}/labels/model.csv", f"text_id,grade,grader\n{graded}".encode())
    return lake


@pytest.fixture(scope="module")
def ask(tables_folder: Path) -> Any:
    made = publication(tables_folder, "scored", a_scored_lake(str(tables_folder / "scored-lake")))
    assert made.materialize().success
    return lambda sql: query(made.warehouse.path, sql).rows


def midranks(values: list[float]) -> list[float]:
    below = [sum(other < value for other in values) for value in values]
    equal = [sum(other == value for other in values) for value in values]
    return [low + (same + 1) / 2 for low, same in zip(below, equal, strict=True)]


def spearman(left: list[float], right: list[float]) -> float:
    return float(np.corrcoef(midranks(left), midranks(right))[0, 1])


def test_a_score_of_several_artifacts_is_listed_once(ask: Any) -> None:
    assert ask(
        "select annotator, is_current, count(*) from score_history group by all order by all"
    ) == [("first", False, NUMBER), ("second", True, NUMBER), ("third", True, NUMBER)]


def test_the_cut_says_what_ties_there(ask: Any) -> None:
    chosen = selected()
    cut = min(NEWER[name] for name in chosen)
    tied = [name for name in NAMES if NEWER[name] == cut]
    assert 0 < len(chosen & set(tied)) < len(tied), "no tie at the cut: the test shows nothing"
    tokens = sum(TOKENS[name] for name in chosen)
    assert ask(
        "select cut, num_selected_tokens, num_tied_documents, num_tied_selected, num_tied_tokens"
        " from selection_cut"
    ) == [(cut, tokens, len(tied), len(chosen & set(tied)), sum(TOKENS[name] for name in tied))]


@pytest.mark.parametrize("percent", [1, 10, 37, 100])
def test_the_curve_keeps_what_ranks_within_a_percent_of_the_tokens(ask: Any, percent: int) -> None:
    kept, tokens = [], 0
    for name in ranked():
        if tokens + TOKENS[name] > sum(TOKENS.values()) * percent / 100:
            break
        kept.append(name)
        tokens += TOKENS[name]
    threshold = NEWER[kept[-1]]
    tied = sum(logit == threshold for logit in NEWER.values())
    assert ask(
        "select threshold, num_documents, num_tokens, num_tied_documents from selection_curve"
        f" where percent = {percent}"
    ) == [(threshold, len(kept), tokens, tied)]


def test_drift_is_index_rank_correlation_and_what_crosses_the_cut(ask: Any) -> None:
    former, newer = list(FORMER.values()), list(NEWER.values())
    edges = np.quantile(np.array(former), np.arange(1, 10) / 10)
    shares = [
        np.maximum(np.bincount(np.searchsorted(edges, values), minlength=10) / NUMBER, 0.0001)
        for values in (former, newer)
    ]
    index = float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))
    total = sum(TOKENS.values())
    share = sum(TOKENS[name] for name in selected()) / total

    def above(logits: dict[str, float]) -> set[str]:
        return {
            name
            for name in NAMES
            if sum(TOKENS[other] for other in NAMES if logits[other] > logits[name]) < share * total
        }

    [found] = ask(
        "select population_stability_index, rank_correlation, num_entering, num_leaving"
        " from annotator_drift"
    )
    assert found[0] == pytest.approx(index, rel=1e-9)
    assert found[1] == pytest.approx(spearman(former, newer), rel=1e-9)
    assert found[2:] == (len(above(NEWER) - above(FORMER)), len(above(FORMER) - above(NEWER)))


def test_agreement_with_grades_is_area_rank_correlation_and_confusion(ask: Any) -> None:
    good = {name for name, grade in GRADES.items() if grade >= 3}
    poor = set(GRADES) - good
    chosen = selected()
    area = roc_auc([NEWER[name] for name in good], [NEWER[name] for name in poor])
    logits, grades = [NEWER[name] for name in GRADES], [float(g) for g in GRADES.values()]
    correlation = rank_correlation(logits, grades)
    assert correlation is not None
    assert correlation.value == pytest.approx(spearman(logits, grades), rel=1e-9)
    columns = (
        "num_labels, num_good, num_good_selected, num_good_refused, num_poor_selected,"
        " num_poor_refused, auc, auc_low, auc_high, rank_correlation, rank_correlation_low,"
        " rank_correlation_high, graders"
    )
    for language in ("python", "all"):
        [found] = ask(
            f"select {columns} from label_agreement where is_selecting and language = '{language}'"
        )
        assert found[:6] == (
            60,
            len(good),
            len(good & chosen),
            len(good - chosen),
            len(poor & chosen),
            len(poor - chosen),
        )
        intervals = (area.auc, area.low, area.high)
        intervals += (correlation.value, correlation.low, correlation.high)
        assert found[6:12] == pytest.approx(intervals, rel=1e-9)
        assert found[12] == "ada, model-1"


def test_the_sample_to_grade_is_drawn_from_every_decile(ask: Any) -> None:
    drawn = ask("select stratum, count(*), sum(weight) from labelling_sample group by 1 order by 1")
    assert [(stratum, number) for stratum, number, _ in drawn] == [(n, 5) for n in range(10)]
    assert sum(weight for _, _, weight in drawn) == pytest.approx(NUMBER)


@pytest.mark.parametrize(
    ("selecting", "scored"), [("second", NEWER), ("third", OTHER), ("fourth", OTHER)]
)
def test_a_document_shows_the_score_that_selects_and_every_annotator_is_compared(
    tables_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    selecting: str,
    scored: dict[str, float],
) -> None:
    """The recipe's own one, or a further one, of which `fourth` is a former version."""
    of_other = stage_of("other_quality_scores")  # as with a recipe that has it
    monkeypatch.setattr(sources, "STAGES", (*STAGES, of_other))
    lake = a_scored_lake(str(tables_folder / f"{selecting}-lake"), selecting=selecting)
    made = publication(tables_folder, selecting, lake)
    assert made.materialize().success

    def ask(sql: str) -> list[Any]:
        return query(made.warehouse.path, sql).rows

    shown = ask("select text_id, logit from document_quality")
    assert dict(shown) == {text_of(name): scored[name] for name in NAMES}
    agreements = ask(
        "select annotator_name, annotator, is_current, is_selecting, num_good_selected > 0,"
        " rank_correlation from label_agreement where language = 'all' order by annotator"
    )
    is_own = selecting == "second"
    assert [row[:5] for row in agreements] == [
        (None, "first", False, False, None),
        ("other", "fourth", False, False, None),
        (None, "second", True, is_own, True if is_own else None),
        ("other", "third", True, not is_own, None if is_own else True),
    ]
    grades = [float(grade) for grade in GRADES.values()]
    logits_of_all = (FORMER, FORMER, NEWER, OTHER)
    assert [row[5] for row in agreements] == pytest.approx(
        [spearman([logits[name] for name in GRADES], grades) for logits in logits_of_all], rel=1e-9
    )
    # A former version is compared with the present one of the same name.
    drift = ask(
        "select annotator_name, former_annotator, annotator, num_documents, rank_correlation"
        " from annotator_drift order by annotator"
    )
    assert [row[:4] for row in drift] == [
        (None, "first", "second", NUMBER),
        ("other", "fourth", "third", NUMBER),
    ]
    assert [row[4] for row in drift] == pytest.approx(
        [spearman(list(FORMER.values()), list(logits.values())) for logits in (NEWER, OTHER)],
        rel=1e-9,
    )
    for table in ("quality_by_language", "score_histogram"):
        compared = ask(
            f"select distinct annotator, is_current, is_selecting from {table} order by all"
        )
        assert compared == [tuple(row[1:4]) for row in agreements]


def test_a_further_annotator_stands_beside_the_one_that_selects(ask: Any) -> None:
    [found] = ask(
        "select language, annotator, further_name, further_annotator, num_texts, num_top_percent,"
        " top_percent_shared, top_tenth_shared, rank_correlation, rank_correlation_low,"
        " rank_correlation_high from annotator_pairs"
    )
    assert found[:6] == ("python", "second", "other", "third", NUMBER, 2)

    def top(logits: dict[str, float], count: int) -> set[str]:
        order = sorted(NAMES, key=lambda name: (-logits[name], text_of(name)))
        return set(order[:count])

    assert found[6:8] == tuple(
        len(top(NEWER, count) & top(OTHER, count)) / count for count in (2, 20)
    )
    correlation = rank_correlation([NEWER[name] for name in NAMES], [OTHER[name] for name in NAMES])
    assert correlation is not None
    expected = (correlation.value, correlation.low, correlation.high)
    assert found[8:] == pytest.approx(expected, rel=1e-9)
