"""MICRO's experiments: the paper's claims with the annotators of figure 2, and its stages.

Selected against random text, fewer documents repeated against more documents once (Tables 2 and
6), an annotator for each set of positives (Table 4, figure 2), each at equal tokens. The models
have about a million parameters: proxies below some 15 million are known to mislead about mixtures.
"""

from collections.abc import Sequence

from snow_assets.recipe.experiments import Arm, Change, Comparison, ExperimentRecipe

_TOKENS = 196_608
_ONCE = Change(field="selection.repeats", value=(1,))
_RANDOM = Change(field="selection.ranking", value="random")
_LOWEST = Change(field="selection.ranking", value="lowest_quality")
_SHUFFLED = Change(field="annotator.labels", value="shuffled")
# A control's annotator fails its gates, and has to select all the same.
_NO_GATES = tuple(
    Change(field=f"annotator.{name}", value=0.0)
    for name in ("min_auc", "min_length_matched_auc", "min_benchmark_auc")
)
_SELECTION = (
    Change(field="selection.budget_tokens", value=_TOKENS),
    Change(field="pretraining.phases.continued.tokens", value=_TOKENS),
)


def _of_positives(*groups: str) -> Arm:
    """Selected once by an annotator that learned from these groups."""
    positives = Change(field="annotator.positive_groups", value=groups)
    return Arm(name=f"{'_'.join(groups)}_x1", changes=(_ONCE, positives))


def _against(baseline: str, names: Sequence[str]) -> tuple[Comparison, ...]:
    return tuple(Comparison(arm=name, baseline=baseline) for name in names)


PAPER_CLAIMS = ExperimentRecipe(
    name="paper_claims",
    phase="continued",
    changes=(*_SELECTION, *_NO_GATES),
    seeds=(0, 1, 2),
    seed_fields=(
        "annotator.seed",
        "selection.ranking_seed",
        "pretraining.packing.seed",
        "pretraining.seed",
    ),
    arms=(
        Arm(name="random_x1", changes=(_RANDOM, _ONCE)),
        Arm(
            name="random_x1_again",
            changes=(_RANDOM, _ONCE),
            seed_offsets=(Change(field="selection.ranking_seed", value=1_000),),
        ),
        Arm(name="selected_x1", changes=(_ONCE,)),
        Arm(name="selected_x4", changes=()),
        Arm(name="random_x4", changes=(_RANDOM,)),
        Arm(name="lowest_x1", changes=(_LOWEST, _ONCE)),
        Arm(name="shuffled_x1", changes=(_ONCE, _SHUFFLED)),
        _of_positives("functions"),
        _of_positives("standing"),
        _of_positives("ordinary"),
        _of_positives("generated"),
    ),
    control=Comparison(arm="random_x1_again", baseline="random_x1"),
    comparisons=(
        *_against(
            "random_x1",
            ("selected_x1", "lowest_x1", "shuffled_x1", "random_x4", "selected_x4"),
        ),
        Comparison(arm="selected_x4", baseline="selected_x1"),
        Comparison(arm="selected_x4", baseline="random_x4"),
        *_against("random_x1", ("functions_x1", "standing_x1", "ordinary_x1", "generated_x1")),
    ),
    benchmark="HumanEval",
    min_difference=0.01,
    bootstrap_resamples=10_000,
    annotator_arms=(
        "selected_x1",
        "functions_x1",
        "standing_x1",
        "ordinary_x1",
        "generated_x1",
        "shuffled_x1",
    ),
)

STAGE_ABLATION = ExperimentRecipe(
    name="stage_ablation",
    phase="enhanced",
    changes=_NO_GATES,
    seeds=(0, 1, 2),
    # One annotator and one synthetic set: both phases' data are the same with every seed.
    seed_fields=("pretraining.packing.seed", "pretraining.seed"),
    arms=(
        Arm(name="whole", changes=()),
        Arm(
            name="whole_again",
            changes=(),
            seed_offsets=(Change(field="pretraining.packing.seed", value=1_000),),
        ),
        Arm(
            name="without_synthetic",
            changes=(Change(field="pretraining.phases.enhanced.data", value=("high_quality",)),),
        ),
        Arm(name="without_enhanced", changes=(), dropped_phases=("enhanced",)),
        Arm(name="without_continued", changes=(), dropped_phases=("continued",)),
        Arm(name="without_general", changes=(), dropped_phases=("general",)),
    ),
    control=Comparison(arm="whole_again", baseline="whole"),
    comparisons=_against(
        "whole",
        ("without_synthetic", "without_enhanced", "without_continued", "without_general"),
    ),
    benchmark="HumanEval",
    min_difference=0.01,
    bootstrap_resamples=10_000,
)
