"""Manifest stats of the quality assets."""

from typing import Any

from snow_assets.quality.contract import AnnotatorReport
from snow_assets.quality.gate import gate_failures
from snow_assets.storage import shards


def annotator_stats(report: AnnotatorReport) -> dict[str, Any]:
    """Version, training loss and gates, for display; they are checked in `annotator.json`."""
    stats: dict[str, Any] = {
        "annotator": report.annotator.version,
        "is_gate_passed": not gate_failures(report.annotator.all_gates),
        "training_examples": report.num_training_examples,
        "validation_examples": report.num_validation_examples,
        "loss": report.loss,
        "num_iterations": report.num_iterations,
    }
    for gate in report.annotator.gates:
        name = gate.name if gate.language is None else f"{gate.name}.{gate.language}"
        stats[f"{name}_auc"] = gate.auc
        stats[f"{name}_auc_low"] = gate.low
        stats[f"{name}_auc_high"] = gate.high
    for grade_gate in report.annotator.grade_gates:
        suffix = "" if grade_gate.language is None else f".{grade_gate.language}"
        stats[f"rank_correlation{suffix}"] = grade_gate.rank_correlation
        stats[f"rank_correlation_low{suffix}"] = grade_gate.low
        stats[f"rank_correlation_high{suffix}"] = grade_gate.high
    return stats


def train_tokens(clean_folders: dict[str, str]) -> dict[str, int]:
    """Language -> number of train tokens of its `clean_corpus` artifact, from the manifest."""
    return {
        language: int(shards.manifest(folder).stats["train_tokens"])
        for language, folder in clean_folders.items()
    }
