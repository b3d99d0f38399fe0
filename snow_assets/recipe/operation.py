"""Operation: size of the work, prices and rates for plans, retention, scoring round."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le, MaxLen

from snow_assets.recipe.validation import (
    Count,
    MemoryGib,
    Name,
    PositiveFloat,
    Price,
    RecipeSection,
    Text,
    Threads,
    require,
)


@dataclass(frozen=True, kw_only=True)
class WorkerMemory(RecipeSection):
    """Host memory of each step's worker in GiB: request and limit of its Job.

    Not part of any artifact's fingerprint, so that a step that ran out of memory resumes with more.
    """

    annotator_gib: MemoryGib  # training and scoring
    conversion_gib: MemoryGib  # of the teacher's weights
    synthesis_gib: MemoryGib  # vLLM reads the weights through it
    evaluation_gib: MemoryGib
    sandbox_gib: MemoryGib


@dataclass(frozen=True, kw_only=True)
class EndpointRecipe(RecipeSection):
    """Use of an OpenAI-compatible endpoint as the teacher (`synthesis.engine`)."""

    max_connections: Annotated[int, Ge(1), Le(10_000)]  # requests in progress at once
    max_retries: Annotated[
        int, Ge(0), Le(1_000)
    ]  # of a request: lost connections, 408, 409, 429, 5xx
    price_per_million_prompt_tokens: Price
    price_per_million_completion_tokens: Price
    max_cost: PositiveFloat | None
    """Requests stop before the artifact's completions could cost more, with those of earlier
    attempts; None: no cap. A request without a reported usage, and one that was lost or ended with
    408 or 5xx, counts as the longest prompt and completion that the recipe allows, each retry anew.
    """


@dataclass(frozen=True, kw_only=True)
class CurationExecution(RecipeSection):
    """Size of the Jobs in which the stages that can be distributed run, each on a Ray cluster.

    These are curation from ingest on, the high-quality subset and packs.

    Not part of any artifact's fingerprint.
    """

    nodes: Annotated[int, Ge(0), Le(4_096)]  # pods; 0: in the run's process, or on SNOW_RAY_ADDRESS
    cpus: Threads  # of a node: tasks at the same time
    memory_gib: MemoryGib  # of a node


@dataclass(frozen=True, kw_only=True)
class PretrainingExecution(RecipeSection):
    """Size and speed of pretraining's Job.

    Not part of any artifact's fingerprint: a phase resumes with another size, and floating-point
    sums then differ in their last digits.
    """

    device: Literal["cpu", "gpu"]  # of each process
    nodes: Annotated[int, Ge(1), Le(4_096)]  # pods
    processes_per_node: Annotated[int, Ge(1), Le(64)]  # one GPU each, if any
    memory_gib: MemoryGib  # host memory of a node
    gpu_memory_gib: MemoryGib | None = None  # of each GPU: a plan refuses what cannot fit
    threads: Threads  # of a process
    micro_batch_size: Count  # sequences per forward pass of a process
    sharding_degree: Count | None
    """Processes that share one copy of the weights and the optimizer state; None: all (FSDP). The
    copies of fewer processes are kept equal (HSDP)."""
    activation_checkpointing: Literal["none", "feed_forward", "blocks"]
    """What is recomputed in the backward pass instead of stored."""
    compile: bool  # the blocks, on GPUs
    keep_every_checkpoints: Count | None
    """Every so many checkpoints one stays until the phase ends, beside the last three."""
    validation_steps: Count | None = None
    """Every so many steps, and after the last, bits per byte of held-out documents; None: never."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.sharding_degree is None or self.num_processes % self.sharding_degree == 0,
            f"sharding_degree {self.sharding_degree} does not divide {self.num_processes} "
            "processes",
        )
        require(
            self.device == "cpu" or self.gpu_memory_gib is not None,
            "PretrainingExecution.gpu_memory_gib is None: state the memory of each GPU that trains",
        )

    @property
    def num_processes(self) -> int:
        return self.nodes * self.processes_per_node

    @property
    def num_sharding_processes(self) -> int:
        """Processes that share one copy of the weights."""
        return self.sharding_degree or self.num_processes

    @property
    def num_gpus(self) -> int:
        return self.num_processes if self.device == "gpu" else 0


@dataclass(frozen=True, kw_only=True)
class OperationRecipe(RecipeSection):
    """Prices and rates are for plans only; rates measured in earlier runs take precedence.

    Parts of a fingerprint are `scoring_round`, of `quality_scores`' (`make plan` shows the cost of
    a new round before it starts), and `benchmark_python`.
    """

    scoring_round: Name | None  # with a new name, such as a date, every text is scored again
    benchmark_files: Text | None
    """Folder of the published files of benchmarks that no distribution carries
    (`docs/benchmarks.md`): a URL, a path, `{lake}/...`, or relative to the checkout."""
    worker_memory: WorkerMemory
    sandbox_cpus: Threads  # programs that run at the same time, at most one per core
    endpoint: EndpointRecipe
    curation: CurationExecution
    pretraining: PretrainingExecution
    retention_days: Annotated[
        float, Ge(0), Le(100_000)
    ]  # unreferenced artifacts younger than this are not purged
    currency: Annotated[Name, MaxLen(16)]
    machine_hour_price: Price  # a machine without GPU
    gpu_hour_price: Price
    bytes_per_token: PositiveFloat  # of code; to estimate a corpus that was not read yet
    curation_bytes_per_second: PositiveFloat  # of a machine, for every stage without a model
    training_flops_per_second: (
        PositiveFloat  # of one GPU, or of the machine if the recipe uses none
    )
    scoring_tokens_per_second: PositiveFloat
    generation_tokens_per_second: PositiveFloat
    archive_pins: Text | None = None
    """File of the archives that the sources read, pinned by version and digest, relative to the
    checkout; `make archives` fetches them into `archives` of SNOW_HOME (`docs/own-data.md`)."""
    benchmark_python: Text | None = None
    """Interpreter of the environment with the libraries that BigCodeBench's programs import, where
    the sandbox runs: an absolute path (`docs/benchmarks.md`). Part of the fingerprint of
    `benchmark_results` where a benchmark needs it."""
