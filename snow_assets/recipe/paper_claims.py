"""The paper's main claims as an experiment on SMOKE's own corpus.

Selected against random text, and fewer documents repeated against more documents once (Tables 2 and
6), at equal tokens. The models have about a million parameters: proxies below some 15 million are
known to mislead about mixtures, so this shows that the measurement works, not that the paper
holds.
"""

from collections.abc import Sequence

from snow_assets.recipe.experiments import Arm, Change, Comparison, ExperimentRecipe

ONCE = Change(field="selection.repeats", value=(1,))
RANDOM = Change(field="selection.ranking", value="random")
LOWEST = Change(field="selection.ranking", value="lowest_quality")
RANDOM_AGAIN = Arm(
    name="random_x1_again",
    changes=(RANDOM, ONCE),
    seed_offsets=(Change(field="selection.ranking_seed", value=1_000),),
)


def of_tokens(tokens: int) -> tuple[Change, ...]:
    """So many are selected, repeats included, and trained on in the phase `continued`."""
    return (
        Change(field="selection.budget_tokens", value=tokens),
        Change(field="pretraining.phases.continued.tokens", value=tokens),
    )


def against(baseline: str, names: Sequence[str]) -> tuple[Comparison, ...]:
    return tuple(Comparison(arm=name, baseline=baseline) for name in names)


PAPER_CLAIMS = ExperimentRecipe(
    name="paper_claims",
    phase="continued",
    changes=of_tokens(98_304),
    seeds=(0, 1, 2, 3, 4),
    seed_fields=(
        "annotator.seed",
        "selection.ranking_seed",
        "pretraining.packing.seed",
        "pretraining.seed",
    ),
    arms=(
        Arm(name="random_x1", changes=(RANDOM, ONCE)),
        RANDOM_AGAIN,
        Arm(name="random_x4", changes=(RANDOM,)),
        Arm(name="selected_x1", changes=(ONCE,)),
        Arm(name="selected_x4", changes=()),
        Arm(name="lowest_x1", changes=(LOWEST, ONCE)),
    ),
    control=Comparison(arm="random_x1_again", baseline="random_x1"),
    comparisons=(
        *against("random_x1", ("selected_x1", "lowest_x1", "random_x4")),
        Comparison(arm="selected_x4", baseline="selected_x1"),
        Comparison(arm="selected_x4", baseline="random_x4"),
    ),
    benchmark="HumanEval",
    min_difference=0.01,
    bootstrap_resamples=10_000,
)
