"""The gate: an annotator scores nothing before its AUCs' lower bounds meet the recipe's minimums.

AUC on benchmark solutions follows downstream quality nearly monotonically (arXiv 2409.02326,
figure 2). Gating by it steers towards the benchmark, so only a half of its tasks gate; the other
half is reported. Tidy positives are short, so length could cheat: one gate compares each positive
with an unseen negative of the same language and length.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from snow_assets import shards
from snow_assets.quality.auc import area
from snow_assets.quality.contract import Annotator, Gate
from snow_assets.recipe import AnnotatorRecipe

ANNOTATOR = "annotator.json"
VALIDATION = "validation"

POSITIVE, RANDOM, LENGTH_MATCHED = "positive", "random", "length_matched"
STEERED, UNSTEERED = "steered_solution", "unsteered_solution"


class GateError(ValueError):
    """An annotator's gate failed, and a consumer refuses it."""


def gates(validation: pa.Table, recipe: AnnotatorRecipe) -> list[Gate]:
    """What an `ANNOTATOR_VALIDATION` table says, gated and merely reported."""
    unseen = _logits(validation, RANDOM)
    matched = validation.filter(pc.equal(validation["role"], LENGTH_MATCHED))
    have_match = validation.filter(pc.is_in(validation["text_id"], pc.unique(matched["matches"])))
    return [
        _gate("held_out", _logits(validation, POSITIVE), unseen, recipe.min_auc),
        _gate(
            "length_matched",
            _logits(have_match, POSITIVE),
            _logits(matched, LENGTH_MATCHED),
            recipe.min_length_matched_auc,
        ),
        _gate("steered_benchmark", _logits(validation, STEERED), unseen, recipe.min_benchmark_auc),
        _gate("unsteered_benchmark", _logits(validation, UNSTEERED), unseen, None),
    ]


def failures(measured: Sequence[Gate]) -> list[str]:
    """Each failed gate as a sentence."""
    return [_failure(gate) for gate in measured if not gate.passed]


def read_annotator(folder: str) -> Annotator:
    """What a finished `quality_annotator` generation says of itself."""
    content = shards.get_file(folder, ANNOTATOR)
    return TypeAdapter(Annotator).validate_json(content)


def refuse_failed_gate(annotator_folder: str) -> Annotator:
    """The annotator, or GateError with every AUC that is too low; consumers call it first."""
    annotator = read_annotator(annotator_folder)
    wrong = failures(annotator.gates)
    if wrong:
        raise GateError(
            f"annotator {annotator.version[:12]} may not score: {'; '.join(wrong)}. Choose better "
            "exemplars or another encoder, or lower the minimum in the recipe's annotator"
        )
    return annotator


def _gate(name: str, positives: list[float], negatives: list[float], minimum: float | None) -> Gate:
    counts = {"num_positives": len(positives), "num_negatives": len(negatives)}
    if min(counts.values()) < 2:
        return Gate(name=name, auc=None, low=None, high=None, minimum=minimum, **counts)
    found = area(positives, negatives)
    return Gate(name=name, auc=found.auc, low=found.low, high=found.high, minimum=minimum, **counts)


def _failure(gate: Gate) -> str:
    if gate.low is None:
        return (
            f"{gate.name} cannot be measured with {gate.num_positives} positives and "
            f"{gate.num_negatives} negatives"
        )
    return f"{gate.name} AUC {gate.auc:.3f}, at least {gate.low:.3f}, minimum {gate.minimum}"


def _logits(validation: pa.Table, role: str) -> list[float]:
    chosen: list[float] = validation.filter(pc.equal(validation["role"], role))["logit"].to_pylist()
    return chosen
