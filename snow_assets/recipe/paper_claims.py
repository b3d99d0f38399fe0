"""The paper's main claims as an experiment on SMOKE's own corpus.

Selected against random text, and fewer documents repeated against more documents once (Tables 2 and
6), at equal tokens. The models have about a million parameters: proxies below some 15 million are
known to mislead about mixtures, so this shows that the measurement works, not that the paper
holds.
"""

from snow_assets.recipe.experiments import Arm, Change, Comparison, ExperimentRecipe

_TOKENS = 98_304

PAPER_CLAIMS = ExperimentRecipe(
    name="paper_claims",
    phase="continued",
    changes=(
        Change(field="selection.budget_tokens", value=_TOKENS),
        Change(field="pretraining.phases.continued.tokens", value=_TOKENS),
    ),
    seeds=(0, 1, 2, 3, 4),
    seed_fields=(
        "annotator.seed",
        "selection.ranking_seed",
        "pretraining.packing.seed",
        "pretraining.seed",
    ),
    arms=(
        Arm(
            name="random_x1",
            changes=(
                Change(field="selection.ranking", value="random"),
                Change(field="selection.repeats", value=(1,)),
            ),
        ),
        Arm(
            name="random_x1_again",
            changes=(
                Change(field="selection.ranking", value="random"),
                Change(field="selection.repeats", value=(1,)),
            ),
            seed_offsets=(Change(field="selection.ranking_seed", value=1_000),),
        ),
        Arm(name="random_x4", changes=(Change(field="selection.ranking", value="random"),)),
        Arm(name="selected_x1", changes=(Change(field="selection.repeats", value=(1,)),)),
        Arm(name="selected_x4", changes=()),
        Arm(
            name="lowest_x1",
            changes=(
                Change(field="selection.ranking", value="lowest_quality"),
                Change(field="selection.repeats", value=(1,)),
            ),
        ),
    ),
    control=Comparison(arm="random_x1_again", baseline="random_x1"),
    comparisons=(
        Comparison(arm="selected_x1", baseline="random_x1"),
        Comparison(arm="lowest_x1", baseline="random_x1"),
        Comparison(arm="random_x4", baseline="random_x1"),
        Comparison(arm="selected_x4", baseline="selected_x1"),
        Comparison(arm="selected_x4", baseline="random_x4"),
    ),
    benchmark="HumanEval",
    min_difference=0.01,
    bootstrap_resamples=10_000,
)
