"""MICRO's experiments: the paper's claims with the annotators of figure 2, and its stages.

Selected against random text, fewer documents repeated against more documents once (Tables 2 and
6), an annotator for each set of positives (Table 4, figure 2), each at equal tokens. The models
have about a million parameters: proxies below some 15 million are known to mislead about mixtures.
"""

from dataclasses import replace

from snow_assets.recipe import paper_claims
from snow_assets.recipe.experiments import Arm, Change, Comparison, ExperimentRecipe
from snow_assets.recipe.paper_claims import (
    LOWEST,
    ONCE,
    RANDOM,
    RANDOM_AGAIN,
    against,
    of_tokens,
)

_SHUFFLED = Change(field="annotator.labels", value="shuffled")
# A control's annotator fails its gates, and has to select all the same.
_NO_GATES = tuple(
    Change(field=f"annotator.{name}", value=0.0)
    for name in ("min_auc", "min_length_matched_auc", "min_benchmark_auc")
)


def _of_positives(*groups: str) -> Arm:
    """Selected once by an annotator that learned from these groups."""
    positives = Change(field="annotator.positive_groups", value=groups)
    return Arm(name=f"{'_'.join(groups)}_x1", changes=(ONCE, positives))


PAPER_CLAIMS = replace(
    paper_claims.PAPER_CLAIMS,
    changes=(*of_tokens(196_608), *_NO_GATES),
    seeds=(0, 1, 2),
    arms=(
        Arm(name="random_x1", changes=(RANDOM, ONCE)),
        RANDOM_AGAIN,
        Arm(name="selected_x1", changes=(ONCE,)),
        Arm(name="selected_x4", changes=()),
        Arm(name="random_x4", changes=(RANDOM,)),
        Arm(name="lowest_x1", changes=(LOWEST, ONCE)),
        Arm(name="shuffled_x1", changes=(ONCE, _SHUFFLED)),
        _of_positives("functions"),
        _of_positives("standing"),
        _of_positives("ordinary"),
        _of_positives("generated"),
    ),
    comparisons=(
        *against(
            "random_x1",
            ("selected_x1", "lowest_x1", "shuffled_x1", "random_x4", "selected_x4"),
        ),
        Comparison(arm="selected_x4", baseline="selected_x1"),
        Comparison(arm="selected_x4", baseline="random_x4"),
        *against("random_x1", ("functions_x1", "standing_x1", "ordinary_x1", "generated_x1")),
    ),
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
    comparisons=against(
        "whole",
        ("without_synthetic", "without_enhanced", "without_continued", "without_general"),
    ),
    benchmark="HumanEval",
    min_difference=0.01,
    bootstrap_resamples=10_000,
)
