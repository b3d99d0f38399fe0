"""What running costs, how long what nobody needs is kept, and which round of scoring it is."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le, MaxLen

from snow_assets.recipe.validation import MemoryGib, Name, PositiveFloat, Price, RecipeSection


@dataclass(frozen=True, kw_only=True)
class WorkerMemory(RecipeSection):
    """Host memory of each step's worker in GiB: a Job requests it, and is killed beyond it.

    It enters no artifact's address, so that a step that ran out of memory goes on with more.
    """

    annotator_gib: MemoryGib  # training and scoring
    conversion_gib: MemoryGib  # of the teacher's weights
    synthesis_gib: MemoryGib  # vLLM reads the weights through it
    pretraining_gib: MemoryGib
    evaluation_gib: MemoryGib
    sandbox_gib: MemoryGib


@dataclass(frozen=True, kw_only=True)
class OperationRecipe(RecipeSection):
    """Prices and stated rates are for plans only; a run that was measured goes before a rate.

    Only `scoring_round` enters an address, that of `quality_scores`: `make plan` tells what a new
    round costs before it starts.
    """

    scoring_round: Name | None  # a new name, such as a date, and every text is scored again
    worker_memory: WorkerMemory
    retention_days: Annotated[
        float, Ge(0), Le(100_000)
    ]  # an unreferenced generation younger than this is not purged
    currency: Annotated[Name, MaxLen(16)]
    machine_hour_price: Price  # a machine without GPU
    gpu_hour_price: Price
    bytes_per_token: PositiveFloat  # of code; to guess a corpus that nobody has read yet
    curation_bytes_per_second: PositiveFloat  # of a machine, for every stage without a model
    training_flops_per_second: (
        PositiveFloat  # of one GPU, or of the machine where the recipe asks for none
    )
    scoring_tokens_per_second: PositiveFloat
    generation_tokens_per_second: PositiveFloat
