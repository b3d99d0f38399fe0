"""Asset checks of quality; consumers of the annotator also enforce its gates."""

import dagster as dg

from snow_assets.defs.curation import clean_corpus
from snow_assets.defs.materialize import check_result, current_artifact, current_artifacts
from snow_assets.defs.quality import (
    OWN_ANNOTATOR,
    annotator_examples,
    quality_annotator,
    quality_scores,
)
from snow_assets.defs.selection import high_quality_subset
from snow_assets.recipe import Recipe
from snow_assets.runtime.exchange.chosen import open_exchange
from snow_assets.storage import shards
from snow_resources.lake import Lake


@dg.asset_check(asset=annotator_examples.name, blocking=True)
def examples_are_not_held_out(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """No example, and no repository of one, is held out for evaluation."""
    from snow_assets.quality import examples

    folder = current_artifact(lake, recipe, annotator_examples.name).folder
    clean = shards.input_folders(folder, clean_corpus.name)
    return check_result(examples.validate_not_held_out(folder, clean))


@dg.asset_check(asset=annotator_examples.name, blocking=True)
def examples_are_split_by_repository(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """No repository is in train and in validation."""
    from snow_assets.quality import examples

    folder = current_artifact(lake, recipe, annotator_examples.name).folder
    return check_result(examples.validate_repository_split(folder))


@dg.asset_check(asset=quality_annotator.name, blocking=True)
def annotator_passes_its_gate(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """The lower bound of each gated AUC, and of the rank correlation with grades, is at least the
    recipe's minimum; a warning where a further annotator selects."""
    from snow_assets.quality import gate

    annotator = gate.read_annotator(current_artifact(lake, recipe, quality_annotator.name).folder)
    selects = OWN_ANNOTATOR.selects(recipe)
    severity = dg.AssetCheckSeverity.ERROR if selects else dg.AssetCheckSeverity.WARN
    return check_result(gate.gate_failures(annotator.all_gates), severity)


@dg.asset_check(asset=quality_scores.name, blocking=True)
def every_training_text_has_one_score(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """Scores and kept training texts are the same set, in every language; logits are numbers."""
    from snow_assets.quality import scores

    with open_exchange() as exchange:
        violations = [
            violation
            for artifact in current_artifacts(lake, recipe, quality_scores.name)
            for clean in shards.input_folders(artifact.folder, clean_corpus.name)
            for violation in scores.validate_scores(clean, artifact.folder, exchange=exchange)
        ]
    return check_result(violations)


@dg.asset_check(asset=high_quality_subset.name, blocking=True)
def selected_documents_are_trainable(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """What is selected is kept and in the training split, and repeated no oftener than the cap."""
    from snow_assets.quality import selection

    with open_exchange() as exchange:
        violations = [
            violation
            for artifact in current_artifacts(lake, recipe, high_quality_subset.name)
            for clean in shards.input_folders(artifact.folder, clean_corpus.name)
            for violation in selection.validate_selection(
                clean, artifact.folder, max_repeats=recipe.selection.max_repeats, exchange=exchange
            )
        ]
    return check_result(violations)


@dg.asset_check(asset=high_quality_subset.name)
def languages_meet_their_budget(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """No language runs out of documents before its share of the budget is full."""
    stats_by_language = {
        artifact.partition: shards.manifest(artifact.folder).stats
        for artifact in current_artifacts(lake, recipe, high_quality_subset.name)
    }
    violations = [
        f"{name} lacks {stats['missing_tokens']} of {stats['budget_tokens']} tokens"
        for name, stats in stats_by_language.items()
        if recipe.selection.fill == "budget" and stats["missing_tokens"]
    ]
    return check_result(violations, dg.AssetCheckSeverity.WARN)
