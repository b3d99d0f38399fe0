import pyarrow as pa
import pytest

from snow_assets.quality.contract import GradeGate
from snow_assets.quality.gate import (
    GateError,
    gate_failures,
    language_failures,
    measure_gates,
    scoring_annotator,
)
from snow_assets.storage.schemas.quality import ANNOTATOR_VALIDATION
from tests.quality.builders import a_recipe, change_annotator
from tests.quality.conftest import Made

RECIPE = a_recipe("unused", min_auc=0.6, min_length_matched_auc=0.6, min_benchmark_auc=0.6)


def validation(**logits: list[float]) -> pa.Table:
    """Role -> logits; the length-matched match the positives in order."""
    rows = [
        {
            "text_id": f"{role}-{place}",
            "role": role,
            "language": "python",
            "logit": logit,
            "matches": f"positive-{place}" if role == "length_matched" else None,
        }
        for role, found in logits.items()
        for place, logit in enumerate(found)
    ]
    return pa.Table.from_pylist(rows, schema=ANNOTATOR_VALIDATION)


def high(count: int = 30) -> list[float]:
    return [1.0 + place / 100 for place in range(count)]


def low(count: int = 30) -> list[float]:
    return [-value for value in high(count)]


def test_good_scores_pass_every_gate() -> None:
    table = validation(
        positive=high(),
        random=low(),
        length_matched=low(),
        validation_solution=high(),
        test_solution=high(),
    )
    found = measure_gates(table, RECIPE)
    assert gate_failures(found) == language_failures(found, "python") == []
    assert [(gate.language, gate.auc) for gate in found] == [
        (language, 1.0) for language in (None, "python") for _ in range(4)
    ]


def test_the_lower_bound_decides_and_not_the_area() -> None:
    few = validation(
        positive=high(5),
        random=low(5),
        length_matched=low(5),
        validation_solution=high(5),
        test_solution=high(5),
    )
    found = measure_gates(few, RECIPE)
    assert found[0].auc == 1.0
    assert len(gate_failures(found)) == 3


def test_a_score_that_is_only_a_length_fails_the_length_matched_gate() -> None:
    table = validation(
        positive=high(),
        random=low(),
        length_matched=high(),
        validation_solution=high(),
        test_solution=high(),
    )
    (wrong,) = gate_failures(measure_gates(table, RECIPE))
    assert wrong.startswith("length_matched AUC 0.500")


def test_a_positive_without_a_match_is_no_part_of_the_length_matched_gate() -> None:
    table = validation(positive=high(30), random=low(), length_matched=low(10))
    gate = measure_gates(table, RECIPE)[1]
    assert (gate.num_positives, gate.num_negatives) == (10, 10)


def test_the_test_half_is_reported_and_never_gated() -> None:
    table = validation(
        positive=high(),
        random=low(),
        length_matched=low(),
        validation_solution=high(),
        test_solution=[value - 9 for value in low()],
    )
    found = measure_gates(table, RECIPE)
    assert found[3].auc == 0.0
    assert gate_failures(found) == []


def languages(**tables: pa.Table) -> pa.Table:
    """Tables of `validation`, each of a language."""
    rows = [
        {
            **row,
            "language": name,
            "text_id": f"{name}-{row['text_id']}",
            "matches": row["matches"] and f"{name}-{row['matches']}",
        }
        for name, table in tables.items()
        for row in table.to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=ANNOTATOR_VALIDATION)


def test_a_language_is_compared_with_random_files_of_its_own() -> None:
    # Rust's positives are no better than other Rust, and better than files of C.
    table = languages(
        c=validation(positive=high(), random=low(), length_matched=low()),
        rust=validation(positive=high(), random=high(), length_matched=high()),
        python=validation(random=low(60), validation_solution=high(), test_solution=high()),
    )
    found = measure_gates(table, RECIPE)
    assert [(gate.name, gate.language) for gate in found if gate.language] == [
        ("held_out", "c"),
        ("length_matched", "c"),
        ("held_out", "rust"),
        ("length_matched", "rust"),
    ]
    assert gate_failures(found[:1]) == []
    assert language_failures(found, "c") == []
    failures = language_failures(found, "rust")
    assert [failure.partition(":")[0] for failure in failures] == [
        "held_out of rust AUC 0.500",
        "length_matched of rust AUC 0.500",
    ]


def test_a_language_without_positives_has_no_gate_and_fails() -> None:
    table = languages(
        c=validation(positive=high(), random=low(), length_matched=low()),
        sql=validation(random=low()),
    )
    found = measure_gates(table, RECIPE)
    assert language_failures(found, "sql") == ["the annotator has no held-out positive in sql"]
    grades = [
        GradeGate(
            language=language,
            graders="human",
            rank_correlation=0.8,
            low=0.7,
            high=0.9,
            num_texts=50,
            minimum=0.3,
        )
        for language in (None, "python", "sql")
    ]
    graded = [*found, *grades]
    assert language_failures(graded, "sql") == ["the annotator has no held-out positive in sql"]
    assert language_failures(graded, "python") == language_failures(found, "python")
    assert language_failures(graded, "c")[-1] == "the annotator has no held-out grade in c"


def test_a_failed_language_does_not_fail_the_annotator() -> None:
    table = languages(
        c=validation(
            positive=high(60), random=low(60), length_matched=low(60), validation_solution=high()
        ),
        sql=validation(positive=high(10), random=low()),
    )
    found = measure_gates(table, RECIPE)
    assert gate_failures(found) == []
    assert language_failures(found, "sql") == [
        "length_matched of sql cannot be measured with 0 positives and 0 negatives"
    ]


def test_what_cannot_be_measured_fails() -> None:
    wrong = gate_failures(measure_gates(validation(positive=high(), random=low()), RECIPE))
    assert wrong[0] == "length_matched cannot be measured with 0 positives and 0 negatives"
    assert len(wrong) == 2


def test_a_consumer_refuses_an_annotator_whose_gate_failed(made: Made) -> None:
    annotator = scoring_annotator(made.annotator)
    failed = [{**vars(gate), "minimum": 1.1} for gate in annotator.gates]
    change_annotator(made.annotator, gates=failed)
    with pytest.raises(GateError, match=r"may not score: held_out AUC .* minimum 1.1"):
        scoring_annotator(made.annotator)
