"""What running costs, how long what nobody needs is kept, and which round of scoring it is."""

from dataclasses import dataclass

from snow_assets.recipe.data import require


@dataclass(frozen=True, kw_only=True)
class OperationRecipe:
    """Prices and stated rates are for plans only; a run that was measured goes before a rate.

    Only `scoring_round` enters an address, that of `quality_scores`: `make plan` tells what a new
    round costs before it starts.
    """

    scoring_round: str | None  # a new name, such as a date, and every text is scored again
    retention_days: float  # an unreferenced generation younger than this is not purged
    currency: str
    machine_hour_price: float  # a machine without GPU
    gpu_hour_price: float
    bytes_per_token: float  # of code; to guess a corpus that nobody has read yet
    curation_bytes_per_second: float  # of a machine, for every stage without a model
    training_flops_per_second: float  # of one GPU, or of the machine where the recipe asks for none
    scoring_tokens_per_second: float
    generation_tokens_per_second: float

    def __post_init__(self) -> None:
        require(self.retention_days >= 0, f"retention_days {self.retention_days} is below 0")
        rates = (
            self.bytes_per_token, self.curation_bytes_per_second, self.training_flops_per_second,
            self.scoring_tokens_per_second, self.generation_tokens_per_second,
        )  # fmt: skip
        require(min(rates) > 0, f"rates must be above 0: {rates}")
