"""How large a step's work is, how long it takes and what it costs: from runs that were measured,
else from the stage's own cost model: the recipe's values and stated rates."""

from dataclasses import dataclass, replace

from snow_assets.recipe import Recipe
from snow_assets.stages import Stage
from snow_assets.storage.sizes import Size


@dataclass(frozen=True, kw_only=True)
class Cost:
    seconds: float
    gpu_hours: float
    price: float
    is_measured: bool  # from a past run of this asset; else from stated rates
    gpus: int = 0
    gpu_memory_bytes: float | None = None  # of each GPU

    @property
    def is_known(self) -> bool:
        """No: it was never made, and no number of the recipe says how large it is."""
        return self.is_measured or self.seconds > 0


def corpus_size(recipe: Recipe) -> Size:
    """What the first phase needs at least: the guess for a corpus that was not read yet."""
    phase = recipe.pretraining.phases[0]
    tokens = phase.tokens / phase.max_passes
    return Size(tokens=tokens, num_bytes=tokens * recipe.operation.bytes_per_token)


def model_tokens(stage: Stage, recipe: Recipe) -> float | None:
    """The tokens that a model reads or writes, where the recipe fixes them."""
    tokens = stage.cost.model_tokens
    return None if tokens is None else tokens(recipe)


def size_of_text(*, documents: float, num_bytes: float, recipe: Recipe) -> Size:
    """Text that was not read yet, with the tokens that its bytes come to."""
    tokens = num_bytes / recipe.operation.bytes_per_token
    return Size(documents=documents, tokens=tokens, num_bytes=num_bytes)


def text_of_stored(stage: Stage, stored: Size) -> Size:
    """The text behind stored files of a stage."""
    return replace(stored, num_bytes=stored.num_bytes / (stage.cost.stored_fraction or 1.0))


def first_size(
    stage: Stage, recipe: Recipe, *, num_partitions: int, text: Size | None = None
) -> Size:
    """The size of a partition that was never made: by the recipe's values, else by the text.

    `text` is what the partition is made from, by the sources' files; None: they could not be
    listed, and the recipe's own training budget is the guess.
    """
    model = stage.cost
    output_tokens = model.model_tokens or model.output_tokens
    if output_tokens is not None:
        tokens = output_tokens(recipe)
        size = Size(tokens=tokens, num_bytes=tokens * recipe.operation.bytes_per_token)
        return size.times(1 / num_partitions)
    if model.stored_fraction is None:
        return Size()
    if text is None:
        text = corpus_size(recipe).times(1 / num_partitions)
    return replace(text, num_bytes=text.num_bytes * model.stored_fraction)


def stated_seconds(stage: Stage, recipe: Recipe, output: Size) -> float:
    """What the recipe's stated rates come to for a step that was never measured."""
    if stage.cost.seconds is not None:
        return stage.cost.seconds(recipe, output)
    return output.num_bytes / recipe.operation.curation_bytes_per_second


def cost(stage: Stage, recipe: Recipe, seconds: float, *, is_measured: bool) -> Cost:
    prices, gpus = recipe.operation, stage.cost.gpus(recipe)
    hours = seconds / 3600
    price = hours * (gpus * prices.gpu_hour_price if gpus else prices.machine_hour_price)
    memory = stage.cost.gpu_memory_bytes
    return Cost(
        seconds=seconds,
        gpu_hours=hours * gpus,
        price=price,
        is_measured=is_measured,
        gpus=gpus,
        gpu_memory_bytes=memory(recipe) if memory is not None and gpus else None,
    )
