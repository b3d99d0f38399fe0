"""What crosses to an evaluation's two jobs and back."""

from dataclasses import dataclass
from typing import Literal

from snow_assets.recipe import EvaluationRecipe

NOT_RUN = "not_run"
"""The verdict on an answer where no sandbox could be had."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What the model's job is asked; folders are generations' URLs."""

    checkpoint: str  # its name: general, continued or enhanced
    checkpoint_folder: str  # holds model/, a Hugging Face folder
    tokenizer: str
    corpora: dict[str, str]  # language -> its clean_corpus
    problems: str
    output: str
    precision: Literal["fp32", "bf16"]
    recipe: EvaluationRecipe


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The output now holds `likelihoods` and `completions`."""

    num_documents: int
    num_solutions: int
    num_completions: int
    device: str


@dataclass(frozen=True, kw_only=True)
class Program:
    """Two programs with the same function, the benchmark's own and the model's, and its test."""

    problem_id: str
    entry_point: str
    test: str  # calls `candidate`, and may use the names that the solution defines
    solution: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What the sandbox's job is asked: all of it, since it reaches no lake."""

    checkpoint: str
    programs: tuple[Program, ...]
    recipe: EvaluationRecipe


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What became of one answer."""

    verdict: str
    isolation: str
    seconds: float
    message: str | None


@dataclass(frozen=True, kw_only=True)
class Executed:
    """What became of all answers, in the order of the programs."""

    isolation: str
    not_run: str | None  # why nothing ran; None: everything did
    num_canonical: int  # solutions of the benchmark that ran and passed; one that fails is an error
    slowest_canonical_seconds: float
    timeout_seconds: float  # of each answer
    num_answers: int
    num_passed: int
    num_timeouts: int
    ran: tuple[Ran, ...]
