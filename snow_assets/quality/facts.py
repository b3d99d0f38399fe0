"""What the quality assets' manifests say of themselves, and of what they share."""

from dataclasses import asdict
from typing import Any

from snow_assets import shards
from snow_assets.quality.contract import AnnotatorReport, ScoringReport


def annotator_facts(report: AnnotatorReport) -> dict[str, Any]:
    """Version, training loss and AUCs; the gate is decided by `annotator.json`, never by these."""
    facts: dict[str, Any] = {
        "annotator": report.annotator.version,
        "is_gate_passed": all(gate.passed for gate in report.annotator.gates),
        "training_examples": report.num_training_examples,
        "validation_examples": report.num_validation_examples,
        "loss": report.loss,
        "num_iterations": report.num_iterations,
    }
    for gate in report.annotator.gates:
        facts[f"{gate.name}_auc"] = gate.auc
        facts[f"{gate.name}_auc_low"] = gate.low
        facts[f"{gate.name}_auc_high"] = gate.high
    return facts


def scoring_facts(report: ScoringReport) -> dict[str, Any]:
    return asdict(report)


def train_tokens(clean_folders: dict[str, str]) -> dict[str, int]:
    """Language -> the clean train tokens of its `clean_corpus` generation, from the manifest."""
    return {
        language: int(shards.manifest(folder).facts["train_tokens"])
        for language, folder in clean_folders.items()
    }
