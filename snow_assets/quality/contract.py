"""Requests and reports of the annotator's two GPU jobs: training and scoring."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from snow_assets.recipe import AnnotatorRecipe

Runtime = Literal["openvino", "torch"]
"""What runs the encoder: OpenVINO on a CPU, torch on a GPU."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A measured AUC with its 95 % interval, and the recipe's minimum of the lower bound."""

    name: str
    language: str | None  # null: of all languages together
    auc: float | None  # null: too few texts
    low: float | None
    high: float | None
    num_positives: int
    num_negatives: int
    minimum: float | None  # null: reported, not gated

    @property
    def passed(self) -> bool:
        return self.minimum is None or (self.low is not None and self.low >= self.minimum)


@dataclass(frozen=True, kw_only=True)
class GradeGate:
    """Spearman's correlation of scores with held-out grades, and the minimum of its lower bound."""

    language: str | None  # null: of all languages together
    graders: str
    rank_correlation: float | None  # null: too few texts
    low: float | None  # 95 % interval
    high: float | None
    num_texts: int
    minimum: float

    @property
    def passed(self) -> bool:
        return self.low is not None and self.low >= self.minimum


@dataclass(frozen=True, kw_only=True)
class Annotator:
    """Content of `annotator.json`: everything a score depends on, and the gates' results.

    `version` is the digest of the fields before `gates` except `encoder`, which is only a location;
    `head_digest` covers the head's weights. Equal versions give equal scores on one kind of CPU or
    GPU; kinds round differently, to a cosine above 0.9999 of the embeddings.
    """

    version: str
    encoder: str  # for torch; OpenVINO's is in the artifact
    encoder_digest: str
    tokenizer_digest: str
    head_digest: str
    window_rule: str
    window_tokens: int
    pooling: str
    runtime: Runtime
    precision: str  # never "auto": what the training machine chose
    gates: list[Gate]
    grade_gates: list[GradeGate] = field(default_factory=list)  # only of graded targets

    @property
    def all_gates(self) -> Sequence[Gate | GradeGate]:
        return [*self.gates, *self.grade_gates]


@dataclass(frozen=True, kw_only=True)
class AnnotatorTrainingRequest:
    """Train a linear head on a frozen encoder; `output` receives head, annotator, validation."""

    examples: str  # an `annotator_examples` artifact
    problems: str  # a `benchmark_problems` artifact
    output: str
    recipe: AnnotatorRecipe


@dataclass(frozen=True, kw_only=True)
class AnnotatorReport:
    annotator: Annotator
    num_training_examples: int
    num_validation_examples: int
    num_windows: int
    loss: float  # in training: log loss, nats; of grades: mean squared error
    num_iterations: int


@dataclass(frozen=True, kw_only=True)
class ScoringRequest:
    """Score the kept train documents of a clean corpus; scores of `earlier` are reused."""

    clean: str  # a `clean_corpus` artifact
    annotator: str  # a `quality_annotator` artifact
    earlier: tuple[str, ...]  # finished `quality_scores` artifacts of the same language
    output: str
    part_texts: int
    batch_tokens: int
    num_threads: int


@dataclass(frozen=True, kw_only=True)
class ScoringReport:
    annotator: str  # annotator version
    num_texts: int
    num_scored: int
    num_reused: int
    num_windows: int  # of the newly scored
