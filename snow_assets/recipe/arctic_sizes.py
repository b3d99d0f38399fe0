"""ARCTIC_7B and ARCTIC_13B: ARCTIC's data for decoders of Llama 2's shapes; their comparison.

Shapes and peak rates are those of Llama 2's 7B and 13B (Touvron et al. 2023, arXiv 2307.09288,
section 2.2 and table 1); embeddings stay tied, and the vocabulary and context are ARCTIC's.
"""

from dataclasses import replace

from snow_assets.recipe.arctic import ARCTIC
from snow_assets.recipe.experiments import Arm, Change, Comparison, ExperimentRecipe
from snow_assets.recipe.training import ModelRecipe, PretrainingRecipe
from snow_assets.recipe.whole import Recipe

_LLAMA_2_7B = replace(
    ARCTIC.pretraining.model,
    hidden_size=4_096,
    intermediate_size=11_008,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=32,
)
_LLAMA_2_13B = replace(
    ARCTIC.pretraining.model,
    hidden_size=5_120,
    intermediate_size=13_824,
    num_hidden_layers=40,
    num_attention_heads=40,
    num_key_value_heads=40,
)
_PEAK_LEARNING_RATE = 3e-4


def _pretraining(model: ModelRecipe) -> PretrainingRecipe:
    """ARCTIC's phases; where the rate ends at a tenth of the peak, it still does."""
    phases = tuple(
        replace(
            phase,
            peak_learning_rate=_PEAK_LEARNING_RATE,
            final_learning_rate=_PEAK_LEARNING_RATE
            * (phase.final_learning_rate / phase.peak_learning_rate),
        )
        for phase in ARCTIC.pretraining.phases
    )
    return replace(ARCTIC.pretraining, model=model, phases=phases)


ARCTIC_7B = replace(
    ARCTIC,
    name="ARCTIC_7B",
    pretraining=_pretraining(_LLAMA_2_7B),
    operation=replace(
        ARCTIC.operation,
        pretraining=replace(
            ARCTIC.operation.pretraining,
            nodes=8,
            micro_batch_size=1,
            sharding_degree=8,
            activation_checkpointing="blocks",
        ),
    ),
)

ARCTIC_13B = replace(
    ARCTIC,
    name="ARCTIC_13B",
    pretraining=_pretraining(_LLAMA_2_13B),
    operation=replace(
        ARCTIC.operation,
        pretraining=replace(
            ARCTIC_7B.operation.pretraining, nodes=16, memory_gib=1_024, sharding_degree=16
        ),
    ),
)


def _of_size(name: str, recipe: Recipe) -> Arm:
    """ARCTIC with a recipe's model, learning rates and GPUs."""
    return Arm(
        name=name,
        changes=(
            Change(field="pretraining.model", value=recipe.pretraining.model),
            Change(field="pretraining.phases", value=recipe.pretraining.phases),
            Change(field="operation.pretraining", value=recipe.operation.pretraining),
        ),
    )


ARCTIC_SIZES = replace(
    ARCTIC,
    name="ARCTIC_SIZES",
    experiments=(
        ExperimentRecipe(
            name="model_sizes",
            phase="enhanced",
            changes=(),
            seeds=(0, 1),
            seed_fields=("pretraining.packing.seed", "pretraining.seed"),
            arms=(
                _of_size("llama_1b", ARCTIC),
                Arm(
                    name="llama_1b_again",
                    changes=(),
                    seed_offsets=(Change(field="pretraining.packing.seed", value=1_000),),
                ),
                _of_size("llama_7b", ARCTIC_7B),
                _of_size("llama_13b", ARCTIC_13B),
            ),
            control=Comparison(arm="llama_1b_again", baseline="llama_1b"),
            comparisons=(
                Comparison(arm="llama_7b", baseline="llama_1b"),
                Comparison(arm="llama_13b", baseline="llama_7b"),
            ),
            benchmark="HumanEval",
            min_difference=0.01,
            bootstrap_resamples=10_000,
        ),
    ),
)
"""ARCTIC with an experiment on the sizes: the same data and tokens for each."""
