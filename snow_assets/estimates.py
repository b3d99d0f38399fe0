"""How large a step's work is, how long it takes and what it costs: from runs that were measured,
else from the recipe's own numbers and stated rates."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from snow_assets import shards
from snow_assets.recipe import ModelRecipe, Recipe


@dataclass(frozen=True, kw_only=True)
class Size:
    documents: float = 0
    tokens: float = 0
    num_bytes: float = 0

    def times(self, factor: float) -> "Size":
        return Size(
            documents=self.documents * factor,
            tokens=self.tokens * factor,
            num_bytes=self.num_bytes * factor,
        )


@dataclass(frozen=True, kw_only=True)
class Cost:
    seconds: float
    gpu_hours: float
    price: float
    is_measured: bool  # from a past run of this asset; else from stated rates

    @property
    def is_known(self) -> bool:
        """No: it was never made, and no number of the recipe says how large it is."""
        return self.is_measured or self.seconds > 0


def size_of(manifest: shards.Manifest) -> Size:
    return Size(
        documents=sum(entry.num_rows or 0 for entry in manifest.files),
        tokens=sum(entry.num_tokens or 0 for entry in manifest.files),
        num_bytes=sum(entry.num_bytes for entry in manifest.files),
    )


def together(sizes: Iterable[Size]) -> Size:
    found = list(sizes)
    return Size(
        documents=sum(size.documents for size in found),
        tokens=sum(size.tokens for size in found),
        num_bytes=sum(size.num_bytes for size in found),
    )


def corpus_size(recipe: Recipe) -> Size:
    """What the general phase needs at least: the guess for a corpus that nobody has read."""
    phase = recipe.pretraining.general
    tokens = phase.tokens / phase.max_passes
    return Size(tokens=tokens, num_bytes=tokens * recipe.operation.bytes_per_token)


_STEPS: Mapping[str, Callable[[Recipe], float]] = {
    "general_checkpoint": lambda recipe: recipe.pretraining.general.tokens,
    "continued_checkpoint": lambda recipe: recipe.pretraining.continued.tokens,
    "enhanced_checkpoint": lambda recipe: recipe.pretraining.enhanced.tokens,
    "synthetic_answers": lambda recipe: recipe.synthesis.requests * recipe.synthesis.max_new_tokens,
}
"""Assets whose work follows a number of the recipe, whatever the inputs' size: its tokens."""


def work_tokens(asset: str, recipe: Recipe) -> float | None:
    """The tokens that a model reads or writes, where the recipe fixes them."""
    return _STEPS[asset](recipe) if asset in _STEPS else None


def past_work_tokens(asset: str, settings: Mapping[str, Any]) -> float | None:
    """The same of a finished generation, from the settings in its manifest."""
    if asset.endswith("_checkpoint"):
        return float(settings["phase"]["tokens"])
    if asset == "synthetic_answers":
        numbers = settings["synthesis"]
        return float(numbers["requests"]) * float(numbers["max_new_tokens"])
    return None


def gpus(asset: str, recipe: Recipe) -> int:
    if asset.endswith("_checkpoint"):
        return recipe.pretraining.gpus
    return {
        "quality_annotator": recipe.annotator.gpus,
        "quality_scores": recipe.annotator.gpus,
        "synthetic_answers": recipe.synthesis.gpus,
        "benchmark_results": recipe.evaluation.gpus,
    }.get(asset, 0)


def parameters(model: ModelRecipe, *, vocabulary: int) -> int:
    """Weights of the decoder, embeddings tied."""
    head = model.hidden_size // model.heads
    attention = 2 * model.hidden_size * head * (model.heads + model.key_value_heads)
    feed_forward = 3 * model.hidden_size * model.intermediate_size
    return vocabulary * model.hidden_size + model.layers * (attention + feed_forward)


STORED_SHARES: Mapping[str, float] = {
    "raw_code_corpus": 0.23,
    "documents": 0.24,
    "signatures": 0.34,
    "contamination": 0.001,
    "near_duplicates": 0.008,
    "clean_corpus": 0.014,
    "dataset_exports": 0.15,
    "quality_scores": 0.004,
}
"""Stored bytes per byte of text, as the demo's corpus has them: zstd makes a quarter of code."""


def size_of_text(*, documents: float, num_bytes: float, recipe: Recipe) -> Size:
    """Text that was not read yet, with the tokens that its bytes come to."""
    tokens = num_bytes / recipe.operation.bytes_per_token
    return Size(documents=documents, tokens=tokens, num_bytes=num_bytes)


def text_of_stored(asset: str, stored: Size) -> Size:
    """The text behind stored files of an asset."""
    return replace(stored, num_bytes=stored.num_bytes / STORED_SHARES[asset])


def first_size(
    asset: str, recipe: Recipe, *, num_partitions: int, text: Size | None = None
) -> Size:
    """What an asset that was never made comes to: by the recipe's numbers, else by the text.

    `text` is what the partition is made from, by the sources' files; None: nobody could list
    them, and the recipe's own training budget is the guess.
    """
    phases = recipe.pretraining
    tokens: dict[str, float] = {
        "general_packs": phases.general.tokens,
        "continued_packs": phases.continued.tokens,
        "enhanced_packs": phases.enhanced.tokens,
        "high_quality_subset": recipe.selection.budget_tokens,
        "high_quality_dataset": recipe.selection.budget_tokens,
        "synthetic_set": recipe.synthesis.requests * recipe.synthesis.max_new_tokens,
        "quality_annotator": _annotator_tokens(recipe),
        # Each partition, a checkpoint's, answers every problem.
        "benchmark_results": _answer_tokens(recipe) * num_partitions,
    }
    known = work_tokens(asset, recipe) or tokens.get(asset)
    if known is not None:
        return Size(tokens=known, num_bytes=known * recipe.operation.bytes_per_token).times(
            1 / num_partitions
        )
    if asset in _SMALL:
        return Size()
    if text is None:
        text = corpus_size(recipe).times(1 / num_partitions)
    return replace(text, num_bytes=text.num_bytes * STORED_SHARES.get(asset, 1.0))


def _annotator_tokens(recipe: Recipe) -> float:
    """Of three windows of each example."""
    numbers = recipe.annotator
    examples = numbers.max_positives * (1 + numbers.negatives_per_positive)
    return 3 * numbers.window_tokens * (examples + numbers.validation_negatives)


def _answer_tokens(recipe: Recipe) -> float:
    """Of a checkpoint's answers, which take longer than reading what is held out."""
    numbers = recipe.evaluation
    problems = _ALL_PROBLEMS if numbers.problems is None else numbers.problems
    return problems * numbers.max_new_tokens


_ALL_PROBLEMS = 164  # HumanEval
_SMALL = frozenset(
    {
        "opt_outs",
        "benchmark_problems",
        "exemplars",
        "teacher_model",
        "tokenizer",
        "annotator_examples",
    }
)
"""Whose size does not follow the corpus's."""


def stated_seconds(asset: str, recipe: Recipe, makes: Size) -> float:
    """What the recipe's stated rates say of a step that was never measured."""
    rates = recipe.operation
    tokens = work_tokens(asset, recipe)
    if asset.endswith("_checkpoint"):
        vocabulary = recipe.curation.tokenizer.vocabulary
        flops = 6.0 * parameters(recipe.pretraining.model, vocabulary=vocabulary) * (tokens or 0)
        return flops / rates.training_flops_per_second / max(1, gpus(asset, recipe))
    if asset in ("synthetic_answers", "benchmark_results"):
        return (
            (tokens or makes.tokens)
            / rates.generation_tokens_per_second
            / max(1, gpus(asset, recipe))
        )
    if asset == "quality_scores" and makes.documents:
        # The encoder reads a top, a middle and a bottom window of a document.
        windows = 3 * recipe.annotator.window_tokens * makes.documents
        makes = replace(makes, tokens=min(makes.tokens, windows))
    if asset in ("quality_scores", "quality_annotator"):
        return makes.tokens / rates.scoring_tokens_per_second / max(1, gpus(asset, recipe))
    return makes.num_bytes / rates.curation_bytes_per_second


def cost(asset: str, recipe: Recipe, seconds: float, *, is_measured: bool) -> Cost:
    prices, devices = recipe.operation, gpus(asset, recipe)
    hours = seconds / 3600
    price = hours * (devices * prices.gpu_hour_price if devices else prices.machine_hour_price)
    return Cost(seconds=seconds, gpu_hours=hours * devices, price=price, is_measured=is_measured)
