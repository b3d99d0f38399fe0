"""What crosses the border of the annotator's two GPU jobs: requests in, reports out."""

from dataclasses import dataclass

from snow_assets.recipe import AnnotatorRecipe


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A measured AUC with its 95 % interval, and what the recipe asks of the lower bound."""

    name: str
    auc: float | None  # null: no texts to measure with
    low: float | None
    high: float | None
    num_positives: int
    num_negatives: int
    minimum: float | None  # null: reported, never gated

    @property
    def passed(self) -> bool:
        return self.minimum is None or (self.low is not None and self.low >= self.minimum)


@dataclass(frozen=True, kw_only=True)
class Annotator:
    """What `annotator.json` holds: all that a score depends on, and what the annotator is worth.

    `version` is the digest of the fields before `gates` (but `encoder`, which says only where its
    weights were) and of the head's weights: equal versions give equal scores.
    """

    version: str
    encoder: str
    encoder_digest: str
    tokenizer_digest: str
    head_digest: str
    window_rule: str
    window_tokens: int
    pooling: str
    precision: str
    gates: list[Gate]


@dataclass(frozen=True, kw_only=True)
class AnnotatorTraining:
    """Train a linear head on a frozen encoder; `output` receives head, annotator, validation."""

    examples: str  # an `annotator_examples` generation
    problems: str  # a `benchmark_problems` generation
    output: str
    recipe: AnnotatorRecipe


@dataclass(frozen=True, kw_only=True)
class AnnotatorReport:
    annotator: Annotator
    num_training_examples: int
    num_validation_examples: int
    num_windows: int
    loss: float  # log loss in training, nats
    num_iterations: int


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """Score the kept train documents of a clean corpus; a text that `earlier` scored is reused."""

    clean: str  # a `clean_corpus` generation
    annotator: str  # a `quality_annotator` generation
    earlier: tuple[str, ...]  # finished `quality_scores` generations of the same language
    output: str
    part_texts: int
    batch_tokens: int
    num_threads: int


@dataclass(frozen=True, kw_only=True)
class ScoringReport:
    annotator: str  # its version
    num_texts: int
    num_scored: int
    num_reused: int
    num_windows: int  # of the newly scored
