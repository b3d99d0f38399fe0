"""Quality gates: the AUCs' lower bounds must meet the recipe's minimums before scoring.

AUC on benchmark solutions correlates with downstream quality (arXiv 2409.02326, figure 2). Gating
by it selects for the benchmark, so only the validation half of its problems gates; the test half is
reported. Positives tend to be short, so one gate controls for length: it compares each positive
with an unseen negative of the same language and length.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter, ValidationError

from snow_assets.quality.auc import roc_auc
from snow_assets.quality.contract import Annotator, Gate
from snow_assets.recipe import AnnotatorRecipe
from snow_assets.storage import shards

ANNOTATOR = "annotator.json"
VALIDATION = "validation"

POSITIVE, RANDOM, LENGTH_MATCHED = "positive", "random", "length_matched"
VALIDATION_SOLUTION, TEST_SOLUTION = "steered_solution", "unsteered_solution"


class GateError(ValueError):
    """An annotator failed a gate and must not be used."""


def measure_gates(validation: pa.Table, recipe: AnnotatorRecipe) -> list[Gate]:
    """Measure all AUCs of an `ANNOTATOR_VALIDATION` table, gated and reported-only ones."""
    unseen = _logits(validation, RANDOM)
    matched = validation.filter(pc.equal(validation["role"], LENGTH_MATCHED))
    matched_positives = validation.filter(
        pc.is_in(validation["text_id"], pc.unique(matched["matches"]))
    )
    return [
        _gate("held_out", _logits(validation, POSITIVE), unseen, recipe.min_auc),
        _gate(
            "length_matched",
            _logits(matched_positives, POSITIVE),
            _logits(matched, LENGTH_MATCHED),
            recipe.min_length_matched_auc,
        ),
        _gate(
            "steered_benchmark",
            _logits(validation, VALIDATION_SOLUTION),
            unseen,
            recipe.min_benchmark_auc,
        ),
        _gate("unsteered_benchmark", _logits(validation, TEST_SOLUTION), unseen, None),
    ]


def gate_failures(gates: Sequence[Gate]) -> list[str]:
    """Describe each failed gate."""
    return [_failure(gate) for gate in gates if not gate.passed]


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


def _gate(name: str, positives: list[float], negatives: list[float], minimum: float | None) -> Gate:
    counts = {"num_positives": len(positives), "num_negatives": len(negatives)}
    if min(counts.values()) < 2:
        return Gate(name=name, auc=None, low=None, high=None, minimum=minimum, **counts)
    measured = roc_auc(positives, negatives)
    return Gate(
        name=name, auc=measured.auc, low=measured.low, high=measured.high, minimum=minimum, **counts
    )


def _failure(gate: Gate) -> str:
    if gate.low is None:
        return (
            f"{gate.name} cannot be measured with {gate.num_positives} positives and "
            f"{gate.num_negatives} negatives"
        )
    return (
        f"{gate.name} AUC {gate.auc:.3f}: the lower end of its 95 % interval, {gate.low:.3f}, is "
        f"below the minimum {gate.minimum}"
    )


def _logits(validation: pa.Table, role: str) -> list[float]:
    logits: list[float] = validation.filter(pc.equal(validation["role"], role))["logit"].to_pylist()
    return logits
