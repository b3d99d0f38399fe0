"""ARCTIC_7B and ARCTIC_13B: ARCTIC's data for decoders of Llama 2's shapes.

Shapes and peak rates are those of Llama 2's 7B and 13B (Touvron et al. 2023, arXiv 2307.09288,
section 2.2 and table 1); embeddings stay tied, and the vocabulary and context are ARCTIC's.
"""

from dataclasses import replace

from snow_assets.recipe.arctic import ARCTIC
from snow_assets.recipe.training import ModelRecipe, PretrainingRecipe

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
