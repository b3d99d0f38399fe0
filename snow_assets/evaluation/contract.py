"""Requests and reports of an evaluation's jobs: measurement, generation, program execution."""

from dataclasses import dataclass, field
from typing import Literal

from snow_assets.corpus.benchmarks.declaration import TestKind
from snow_assets.recipe import EvaluationRecipe

PASSED, TIMEOUT, NOT_RUN, EXCLUDED = "passed", "timeout", "not_run", "excluded"
"""Outcomes of a completion: its test passed; it reached the time limit; it was not run, because no
sandbox is available, or because its problem's canonical solution fails here. The sandbox has more
(`runtime/sandbox.py`)."""


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """Request of the measurement and generation jobs; folders are artifact URLs."""

    checkpoint: str  # the name of the phase that ended with it
    checkpoint_folder: str  # holds model/, a Hugging Face folder
    tokenizer: str
    corpora: dict[str, str]  # language -> its clean_corpus
    problems: str
    output: str
    precision: Literal["fp32", "bf16"]
    recipe: EvaluationRecipe


@dataclass(frozen=True, kw_only=True)
class MeasurementReport:
    """Counts of what the job wrote to table `likelihoods`."""

    num_documents: int
    num_solutions: int
    device: str


@dataclass(frozen=True, kw_only=True)
class ProblemTest:
    """A problem's canonical program, and the test that it and the model's programs must pass."""

    problem_id: str
    benchmark: str
    entry_point: str
    test: str  # of `kind`, see `corpus/benchmarks/declaration.py`
    solution: str  # prompt and canonical solution; empty if none is published
    kind: TestKind = "function"
    language: str = "python"


@dataclass(frozen=True, kw_only=True)
class Program:
    """The model's program of a problem: its prompt with a completion."""

    problem_id: str
    source: str


@dataclass(frozen=True, kw_only=True)
class ExecutionRequest:
    """Request of the sandbox job, self-contained because the sandbox has no access to the lake."""

    checkpoint: str
    artifact: str
    """Folder that the outcomes are for, which the job doesn't read. Its address holds the isolation
    and the toolchains: a report of another one, which says "not run", is not reused."""
    problems: tuple[ProblemTest, ...]  # of `programs`, each once
    programs: tuple[Program, ...]
    recipe: EvaluationRecipe
    num_cpus: int  # programs that run at the same time, at most one per core
    benchmark_python: str | None = None  # interpreter of the tests of kind "unittest"


@dataclass(frozen=True, kw_only=True)
class ProgramResult:
    """Outcome of one model program."""

    outcome: str
    isolation: str
    seconds: float
    message: str | None


@dataclass(frozen=True, kw_only=True)
class ExecutionReport:
    """Outcomes of all model programs, in the order of the request."""

    isolation: str
    not_run: str | None  # reason why no program was run; None if they were
    excluded: dict[str, str]  # problem id -> why its canonical solution fails here
    num_canonical: int  # problems whose canonical solution, or else toolchain, was verified
    slowest_canonical_seconds: float
    timeout_seconds: float  # per program, of the slowest kind of test
    num_problems: int  # without those excluded or not run, as the counts of programs
    num_programs: int
    num_passed: int
    num_timeouts: int
    ran: tuple[ProgramResult, ...]
    missing_toolchains: dict[str, str] = field(default_factory=dict)
    """Language -> why its programs were not run."""
