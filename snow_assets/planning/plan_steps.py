"""A plan's data, as JSON between two processes, and its tables on one screen, alone or compared."""

from dataclasses import dataclass, field
from typing import Literal

from snow_assets.planning.estimates import Cost
from snow_assets.storage.sizes import Size

Action = Literal["reuse", "go on", "new shards", "redo", "fails"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One asset's partition. `size` is what the step makes; of `new shards`, what is new."""

    asset: str
    partition: str
    action: Action
    reasons: tuple[str, ...] = ()
    new_shards: int = 0  # of `all_shards`, where the step works off only these
    all_shards: int = 0
    size: Size = field(default_factory=Size)
    cost: Cost | None = None  # None: nothing to do
    fingerprint: str | None = None  # the artifact's hash; None: an input is pending


@dataclass(frozen=True, kw_only=True)
class UnfinishedArtifact:
    """An artifact without a manifest that this plan does not go on with."""

    asset: str
    partition: str
    fingerprint: str
    recipe: str
    num_files: int
    num_bytes: int
    started: float
    reasons: tuple[str, ...]  # how the plan's own artifact differs


@dataclass(frozen=True, kw_only=True)
class Plan:
    recipe: str
    lake: str
    currency: str
    steps: list[Step]
    unfinished: list[UnfinishedArtifact]
    gpu_memory_gib: int | None = None  # of each GPU that trains
    estimated_seconds: float = 0  # by the last plan, of steps that have been done since
    actual_seconds: float = 0

    @property
    def todo(self) -> list[Step]:
        return [step for step in self.steps if step.action != "reuse"]

    @property
    def seconds(self) -> float:
        return sum(step.cost.seconds for step in self.steps if step.cost)

    @property
    def gpu_hours(self) -> float:
        return sum(step.cost.gpu_hours for step in self.steps if step.cost)

    @property
    def price(self) -> float:
        return sum(step.cost.price for step in self.steps if step.cost)
