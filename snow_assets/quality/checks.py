"""Quality's promises as asset checks; the gate is enforced in its consumers, too."""

import dagster as dg

from snow_assets import shards
from snow_assets.materialize import check_result, upstream, upstreams
from snow_assets.quality import examples, gate, scores, selection
from snow_assets.quality.assets import (
    annotator_examples,
    high_quality_subset,
    quality_annotator,
    quality_scores,
)
from snow_assets.recipe import Recipe
from snow_resources.lake import Lake


@dg.asset_check(asset=annotator_examples, blocking=True)
def examples_are_not_held_out(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """No example, and no repository of one, is held out for evaluation."""
    folder = upstream(lake, recipe, "annotator_examples").folder
    clean = shards.input_folders(folder, "clean_corpus")
    return check_result(examples.held_out_examples(folder, clean))


@dg.asset_check(asset=annotator_examples, blocking=True)
def examples_are_split_by_repository(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """No repository is in train and in validation."""
    folder = upstream(lake, recipe, "annotator_examples").folder
    return check_result(examples.crossing_repositories(folder))


@dg.asset_check(asset=quality_annotator, blocking=True)
def annotator_passes_its_gate(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """The lower bound of each gated AUC is at least the recipe's minimum."""
    annotator = gate.read_annotator(upstream(lake, recipe, "quality_annotator").folder)
    return check_result(gate.failures(annotator.gates))


@dg.asset_check(asset=quality_scores, blocking=True)
def every_training_text_has_one_score(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """Scores and kept training texts are the same set, in every language; logits are numbers."""
    return check_result(
        [
            fault
            for made in upstreams(lake, recipe, "quality_scores")
            for clean in shards.input_folders(made.folder, "clean_corpus")
            for fault in scores.wrong_scores(clean, made.folder)
        ]
    )


@dg.asset_check(asset=high_quality_subset, blocking=True)
def selected_documents_are_trainable(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """What is selected is kept and in the training split, and repeated no oftener than the cap."""
    cap = recipe.selection.max_repeats
    return check_result(
        [
            fault
            for made in upstreams(lake, recipe, "high_quality_subset")
            for clean in shards.input_folders(made.folder, "clean_corpus")
            for fault in selection.wrong_selection(clean, made.folder, max_repeats=cap)
        ]
    )


@dg.asset_check(asset=high_quality_subset)
def languages_meet_their_budget(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """No language runs out of documents before its share of the budget is full."""
    facts = {
        made.partition: shards.manifest(made.folder).facts
        for made in upstreams(lake, recipe, "high_quality_subset")
    }
    wrong = [
        f"{name} lacks {found['missing_tokens']} of {found['budget_tokens']} tokens"
        for name, found in facts.items()
        if recipe.selection.fill == "budget" and found["missing_tokens"]
    ]
    return check_result(wrong, dg.AssetCheckSeverity.WARN)
