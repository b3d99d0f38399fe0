"""Quality gates: the lower bounds of AUCs, and of the rank correlation with held-out grades where
these are the target, must meet the recipe's minimums before scoring.

The gates of all languages together decide whether the annotator scores at all; those of a language,
against random files of the language, whether its scores select.

AUC on benchmark solutions correlates with downstream quality (arXiv 2409.02326, figure 2). Gating
by it selects for the benchmark, so only the validation half of its problems gates; the test half is
reported. Positives tend to be short, so one gate controls for length: it compares each positive
with an unseen negative of the same language and length.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter, ValidationError

from snow_assets.corpus.benchmarks import benchmark_named
from snow_assets.quality.auc import roc_auc
from snow_assets.quality.contract import Annotator, Gate, GradeGate
from snow_assets.quality.correlation import rank_correlation
from snow_assets.recipe import AnnotatorRecipe
from snow_assets.storage import shards

ANNOTATOR = "annotator.json"
VALIDATION = "validation"
GATES = "gates"
GRADED_VALIDATION, RANK_CORRELATIONS = "graded_validation", "rank_correlations"

POSITIVE, RANDOM, LENGTH_MATCHED = "positive", "random", "length_matched"
VALIDATION_SOLUTION, TEST_SOLUTION = "validation_solution", "test_solution"
GRADED = "graded"


class GateError(ValueError):
    """An annotator failed a gate and must not be used."""


def require_solutions(benchmarks: Sequence[str]) -> None:
    """ValueError if none of a recipe's benchmarks publishes canonical solutions, whose AUC is one
    of the gates."""
    if not any(benchmark_named(name).has_solutions for name in benchmarks):
        raise ValueError(
            "an annotator that selects is gated by its AUC on canonical solutions, and none of "
            f"{list(benchmarks)} publishes any: name another benchmark, such as HumanEval, beside "
            "them in the recipe's evaluation.benchmarks"
        )


def measure_gates(validation: pa.Table, recipe: AnnotatorRecipe) -> list[Gate]:
    """Measure all AUCs of an `ANNOTATOR_VALIDATION` table, gated and reported-only ones: of all
    languages, then of each language that has a held-out positive."""
    is_positive = pc.equal(validation["role"], POSITIVE)
    languages = sorted(pc.unique(validation.filter(is_positive)["language"]).to_pylist())
    gates = _gates_of(validation, recipe, None)
    for language in languages:
        own = validation.filter(pc.equal(validation["language"], language))
        gates += _gates_of(own, recipe, language)
    return gates


def _gates_of(validation: pa.Table, recipe: AnnotatorRecipe, language: str | None) -> list[Gate]:
    """The gates of a validation table; a language without benchmark solutions has none of those."""
    unseen = _logits(validation, RANDOM)
    matched = validation.filter(pc.equal(validation["role"], LENGTH_MATCHED))
    matched_positives = validation.filter(
        pc.is_in(validation["text_id"], pc.unique(matched["matches"]))
    )
    gates = [
        _gate("held_out", language, _logits(validation, POSITIVE), unseen, recipe.min_auc),
        _gate(
            "length_matched",
            language,
            _logits(matched_positives, POSITIVE),
            _logits(matched, LENGTH_MATCHED),
            recipe.min_length_matched_auc,
        ),
    ]
    for name, role, minimum in (
        ("validation_benchmark", VALIDATION_SOLUTION, recipe.min_benchmark_auc),
        ("test_benchmark", TEST_SOLUTION, None),
    ):
        solutions = _logits(validation, role)
        if solutions or language is None:
            gates.append(_gate(name, language, solutions, unseen, minimum))
    return gates


def measure_grade_gates(validation: pa.Table, recipe: AnnotatorRecipe) -> list[GradeGate]:
    """Rank correlations of a `GRADED_VALIDATION` table: of all languages, then of each one."""
    if recipe.min_rank_correlation is None:
        return []
    graders = {table.name: table.grader for table in recipe.grades}
    gates = []
    for language in (None, *sorted(pc.unique(validation["language"]).to_pylist())):
        own = validation
        if language is not None:
            own = own.filter(pc.equal(own["language"], language))
        measured = rank_correlation(own["grade"].to_pylist(), own["logit"].to_pylist())
        gates.append(
            GradeGate(
                language=language,
                graders=", ".join(
                    sorted({graders[name] for name in pc.unique(own["table"]).to_pylist()})
                ),
                rank_correlation=None if measured is None else measured.value,
                low=None if measured is None else measured.low,
                high=None if measured is None else measured.high,
                num_texts=own.num_rows,
                minimum=recipe.min_rank_correlation,
            )
        )
    return gates


def gate_failures(gates: Sequence[Gate | GradeGate]) -> list[str]:
    """Describe each failed gate of all languages together."""
    return [_failure(gate) for gate in gates if gate.language is None and not gate.passed]


def language_failures(gates: Sequence[Gate | GradeGate], language: str) -> list[str]:
    """Why the scores of a language may not select: failed gates of it, or no AUC of it, or, of an
    annotator that learned grades, no held-out grade."""
    own = [gate for gate in gates if gate.language == language]
    failures = [_failure(gate) for gate in own if not gate.passed]
    if not any(isinstance(gate, Gate) for gate in own):
        failures.append(f"the annotator has no held-out positive in {language}")
    learns_grades = any(isinstance(gate, GradeGate) for gate in gates)
    if learns_grades and not any(isinstance(gate, GradeGate) for gate in own):
        failures.append(f"the annotator has no held-out grade in {language}")
    return failures


def gate_rows(annotator: Annotator) -> list[dict[str, Any]]:
    """Rows of ANNOTATOR_GATE."""
    return [
        {**asdict(gate), "annotator": annotator.version, "gate": gate.name, "passed": gate.passed}
        for gate in annotator.gates
    ]


def grade_gate_rows(annotator: Annotator) -> list[dict[str, Any]]:
    """Rows of RANK_CORRELATION."""
    return [
        {**asdict(gate), "annotator": annotator.version, "passed": gate.passed}
        for gate in annotator.grade_gates
    ]


def annotator_json(annotator: Annotator) -> bytes:
    """Content of `annotator.json`; `grade_gates` only where there are any."""
    values = asdict(annotator)
    if not annotator.grade_gates:
        del values["grade_gates"]
    return json.dumps(values, indent=1).encode()


def read_annotator(folder: str) -> Annotator:
    """Read `annotator.json` of a `quality_annotator` artifact; ValueError if it is an older one."""
    content = shards.get_file(folder, ANNOTATOR)
    try:
        return TypeAdapter(Annotator).validate_json(content)
    except ValidationError as error:
        raise ValueError(
            f"{folder} is of another release: materialize quality_annotator again"
        ) from error


def scoring_annotator(annotator_folder: str, *, is_gated: bool = True) -> Annotator:
    """Return the annotator; GateError with every failed gate, if it is gated: whose scores select.
    Consumers call it first."""
    annotator = read_annotator(annotator_folder)
    failures = gate_failures(annotator.all_gates) if is_gated else []
    if failures:
        raise GateError(
            f"annotator {annotator.version[:12]} may not score: {'; '.join(failures)}. Choose "
            "better exemplars or another encoder, or lower the minimum in the recipe's annotator"
        )
    return annotator


def _gate(
    name: str,
    language: str | None,
    positives: list[float],
    negatives: list[float],
    minimum: float | None,
) -> Gate:
    is_measurable = min(len(positives), len(negatives)) >= 2
    measured = roc_auc(positives, negatives) if is_measurable else None
    return Gate(
        name=name,
        language=language,
        auc=None if measured is None else measured.auc,
        low=None if measured is None else measured.low,
        high=None if measured is None else measured.high,
        num_positives=len(positives),
        num_negatives=len(negatives),
        minimum=minimum,
    )


def _failure(gate: Gate | GradeGate) -> str:
    if isinstance(gate, GradeGate):
        return _grade_failure(gate)
    name = gate.name if gate.language is None else f"{gate.name} of {gate.language}"
    if gate.low is None:
        return (
            f"{name} cannot be measured with {gate.num_positives} positives and "
            f"{gate.num_negatives} negatives"
        )
    return (
        f"{name} AUC {gate.auc:.3f}: the lower end of its 95 % interval, {gate.low:.3f}, is "
        f"below the minimum {gate.minimum}"
    )


def _grade_failure(gate: GradeGate) -> str:
    language = "" if gate.language is None else f" of {gate.language}"
    name = f"rank correlation{language} with held-out grades ({gate.graders})"
    if gate.low is None:
        return f"{name} cannot be measured with {gate.num_texts} texts"
    return (
        f"{name} {gate.rank_correlation:.3f}: the lower end of its 95 % interval, {gate.low:.3f}, "
        f"is below the minimum {gate.minimum}"
    )


def _logits(validation: pa.Table, role: str) -> list[float]:
    logits: list[float] = validation.filter(pc.equal(validation["role"], role))["logit"].to_pylist()
    return logits
