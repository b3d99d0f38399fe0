"""What crosses to an evaluation's two jobs and back."""

from dataclasses import dataclass
from typing import Literal

from snow_assets.recipe import EvaluationRecipe


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What both jobs are asked, the model's and the sandbox's; folders are generations' URLs."""

    checkpoint: str  # its name: general, continued or enhanced
    checkpoint_folder: str  # holds model/, a Hugging Face folder
    tokenizer: str
    corpora: dict[str, str]  # language -> its clean_corpus
    problems: str
    output: str
    precision: Literal["fp32", "bf16"]
    isolation: str  # what the asset's probe found; a job that finds less says so in its report
    recipe: EvaluationRecipe


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The output now holds `likelihoods` and `completions`."""

    num_documents: int
    num_solutions: int
    num_completions: int
    device: str


@dataclass(frozen=True, kw_only=True)
class Executed:
    """The output now holds `answers`."""

    isolation: str
    not_run: str | None  # why nothing ran; None: everything did
    num_canonical: int  # solutions of the benchmark that ran and passed; one that fails is an error
    slowest_canonical_seconds: float
    timeout_seconds: float  # of each answer
    num_answers: int
    num_passed: int
    num_timeouts: int
