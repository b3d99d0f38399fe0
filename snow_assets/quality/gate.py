"""Quality gates: the AUCs' lower bounds must meet the recipe's minimums before scoring.

The gates of all languages together decide whether the annotator scores at all; those of a language,
against random files of the language, whether its scores select.

AUC on benchmark solutions correlates with downstream quality (arXiv 2409.02326, figure 2). Gating
by it selects for the benchmark, so only the validation half of its problems gates; the test half is
reported. Positives tend to be short, so one gate controls for length: it compares each positive
with an unseen negative of the same language and length.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter, ValidationError

from snow_assets.quality.auc import roc_auc
from snow_assets.quality.contract import Annotator, Gate
from snow_assets.recipe import AnnotatorRecipe
from snow_assets.storage import shards

ANNOTATOR = "annotator.json"
VALIDATION = "validation"
GATES = "gates"

POSITIVE, RANDOM, LENGTH_MATCHED = "positive", "random", "length_matched"
VALIDATION_SOLUTION, TEST_SOLUTION = "validation_solution", "test_solution"


class GateError(ValueError):
    """An annotator failed a gate and must not be used."""


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


def gate_failures(gates: Sequence[Gate]) -> list[str]:
    """Describe each failed gate of all languages together."""
    return [_failure(gate) for gate in gates if gate.language is None and not gate.passed]


def language_failures(gates: Sequence[Gate], language: str) -> list[str]:
    """Why the scores of a language may not select: no gates of it, or failed ones."""
    own = [gate for gate in gates if gate.language == language]
    if not own:
        return [f"the annotator has no held-out positive in {language}"]
    return [_failure(gate) for gate in own if not gate.passed]


def gate_rows(annotator: Annotator) -> list[dict[str, Any]]:
    """Rows of ANNOTATOR_GATE."""
    return [
        {**asdict(gate), "annotator": annotator.version, "gate": gate.name, "passed": gate.passed}
        for gate in annotator.gates
    ]


def read_annotator(folder: str) -> Annotator:
    """Read `annotator.json` of a `quality_annotator` artifact; ValueError if it is an older one."""
    content = shards.get_file(folder, ANNOTATOR)
    try:
        return TypeAdapter(Annotator).validate_json(content)
    except ValidationError as error:
        raise ValueError(
            f"{folder} is of another release: materialize quality_annotator again"
        ) from error


def require_passed_gates(annotator_folder: str) -> Annotator:
    """Return the annotator; GateError with every failed gate. Consumers call it first."""
    annotator = read_annotator(annotator_folder)
    failures = gate_failures(annotator.gates)
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


def _failure(gate: Gate) -> str:
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


def _logits(validation: pa.Table, role: str) -> list[float]:
    logits: list[float] = validation.filter(pc.equal(validation["role"], role))["logit"].to_pylist()
    return logits
