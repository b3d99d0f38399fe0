"""Sharded checkpoints to resume a phase from, at any world size, written in the background.

A checkpoint is a folder named after its step, which torch.distributed.checkpoint fills: every rank
writes its own shards. Each rank then adds the sha256 of its files, and rank 0 `checkpoint.json`,
with the digest of the request that the checkpoint belongs to, last: a kill at any moment leaves the
checkpoints before it usable. Files are compared with their digests before they are read.
"""

import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import torch.distributed as dist
from olmo_core.distributed.checkpoint import (
    async_save_state_dict,
    get_checkpoint_metadata,
    load_state_dict,
)
from olmo_core.distributed.utils import (
    all_reduce_value,
    barrier,
    broadcast_object,
    get_rank,
    get_world_size,
    is_distributed,
)
from pydantic import TypeAdapter, ValidationError

from snow_assets.pretraining.train_module import DecoderTrainModule
from snow_assets.storage import shards

_COMMIT = "checkpoint.json"
_NUM_LATEST = 3


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """State of the training loop after `step` steps, skipped ones included."""

    step: int
    first_loss_bits: float | None = None  # of the first applied step
    last_loss_bits: float | None = None
    skipped_steps: tuple[int, ...] = ()
    rollbacks: tuple[tuple[int, int], ...] = ()
    """First and last of the steps that a rollback undid."""
    window: dict[str, list[float]] = field(default_factory=lambda: {"losses": [], "grad_norms": []})
    """Of the optimizer's spike detection."""

    def rolled_back_steps(self) -> set[int]:
        """Steps whose update a rollback undid; a later rollback may go back beyond an earlier."""
        return {step for first, last in self.rollbacks for step in range(first, last + 1)}

    def excluded_steps(self) -> list[int]:
        """Steps that were skipped, or whose update a rollback undid."""
        return sorted({*self.skipped_steps, *self.rolled_back_steps()})

    def must_roll_back(self, limit: int) -> bool:
        """Whether the last `limit` steps were all skipped, and after the last rollback."""
        last_rollback = self.rollbacks[-1][1] if self.rollbacks else 0
        recent_steps = range(self.step - limit + 1, self.step + 1)
        return recent_steps[0] > last_rollback and set(self.skipped_steps) >= set(recent_steps)

    def first_skipped_step(self, limit: int) -> int:
        """The first of the skipped steps without a gap that the last `limit` steps end."""
        first_skipped = self.step - limit + 1
        while first_skipped - 1 in self.skipped_steps:
            first_skipped -= 1
        return first_skipped


@dataclass(frozen=True, kw_only=True)
class _Commit:
    request: str
    world_size: int
    state: TrainingState


@dataclass
class ResumeFolder:
    """The checkpoints of one phase's run. Every method is called by all ranks."""

    url: str
    request: str  # digest
    module: DecoderTrainModule
    keep_every_steps: int = 0
    """Checkpoints of multiples stay, beside the last three; 0: none."""
    _pending: tuple[TrainingState, Future[None]] | None = None
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def __post_init__(self) -> None:
        # Collectives of the background never mix with those of training.
        self._group = dist.new_group(backend="gloo") if is_distributed() else None

    @property
    def is_saving(self) -> bool:
        """Whether this rank still writes the last checkpoint."""
        return self._pending is not None and not self._pending[1].done()

    def start_save(self, state: TrainingState) -> None:
        """Copy the state to host memory, and write it in the background.

        Finishes an earlier checkpoint first. Host memory: twice this rank's shards of weights and
        optimizer state.
        """
        self.finish_save()
        folder = shards.join(self.url, _name(state.step))
        if get_rank() == 0:
            shards.remove(folder)  # half of a checkpoint that a kill left
        barrier()
        written = async_save_state_dict(
            _local_path(folder),
            self.module.state_dict_to_save(),
            process_group=self._group,
        )
        self._pending = state, self._pool.submit(_put_digests, folder, get_rank(), written)

    def finish_save(self) -> None:
        """Wait until all ranks have written the last checkpoint, and commit it."""
        if self._pending is None:
            return
        state, written = self._pending
        written.result()
        self._pending = None
        barrier()
        if get_rank() == 0:
            commit = _Commit(request=self.request, world_size=get_world_size(), state=state)
            content = json.dumps(asdict(commit), indent=1).encode()
            shards.put(shards.join(self.url, _name(state.step), _COMMIT), content)
            self._remove_old()
        barrier()

    def load(self, *, before: int | None = None) -> TrainingState | None:
        """Load the latest sound checkpoint (`before` a step, if given) into the train module.

        None if there is none. ValueError if one belongs to another request, or all are damaged.
        """
        commits: list[_Commit] = broadcast_object(self._commits() if get_rank() == 0 else [])
        commits = [commit for commit in commits if before is None or commit.state.step < before]
        for commit in reversed(commits):
            folder = shards.join(self.url, _name(commit.state.step))
            if self._is_sound(folder, commit.world_size):
                path = _local_path(folder)
                state_dict = self.module.state_dict_to_load(get_checkpoint_metadata(path))
                load_state_dict(path, state_dict, process_group=self._group)
                self.module.load_state_dict(state_dict)
                self.module.optim.set_window(commit.state.window)
                return commit.state
        if commits:
            raise ValueError(
                f"every checkpoint in {self.url} is damaged: delete that folder to start afresh"
            )
        return None

    def remove_after(self, step: int) -> None:
        """Delete the checkpoints of later steps."""
        if get_rank() == 0:
            for name in shards.names(self.url):
                if name > _name(step):
                    shards.remove(shards.join(self.url, name))
        barrier()

    def _commits(self) -> list[_Commit]:
        """The finished checkpoints, in the order of their steps."""
        commits = []
        for name in shards.names(self.url):
            url = shards.join(self.url, name, _COMMIT)
            if not shards.exists(url):
                continue
            try:
                commit = TypeAdapter(_Commit).validate_json(shards.get(url))
            except ValidationError as error:
                raise ValueError(
                    f"{url} is damaged ({error.errors()[0]['msg']}): delete {self.url} to start "
                    "afresh"
                ) from None
            if commit.request != self.request:
                raise ValueError(
                    f"{self.url} holds a checkpoint of another request (digest {commit.request}, "
                    f"this one is {self.request}): delete that folder to start afresh"
                )
            commits.append(commit)
        return commits

    def _is_sound(self, folder: str, world_size: int) -> bool:
        """Whether all files are what was written; the ranks share them."""
        own_writers = range(get_rank(), world_size, get_world_size())
        is_damaged = any(_is_damaged(folder, writer) for writer in own_writers)
        device = self.module.device
        return not all_reduce_value(int(is_damaged), device, op=dist.ReduceOp.MAX)

    def _remove_old(self) -> None:
        for name in shards.names(self.url)[:-_NUM_LATEST]:
            is_kept = self.keep_every_steps and _step(name) % self.keep_every_steps == 0
            if not is_kept:
                shards.remove(shards.join(self.url, name))


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _step(name: str) -> int:
    return int(name.rsplit("-", 1)[1])


def _local_path(url: str) -> str:
    """OLMo-core's spelling: a local path without a scheme, any other URL as it is."""
    return url.removeprefix("file://")


def _digests_url(folder: str, rank: int) -> str:
    return shards.join(folder, f"sha256-{rank:05d}.json")


def _put_digests(folder: str, rank: int, written: Future[Any]) -> None:
    """Record the sha256 of the files that a rank wrote; rank 0 writes the index, too."""
    written.result()
    names = [name for name in shards.names(folder) if name.startswith(f"__{rank}_")]
    if rank == 0:
        names.append(".metadata")
    digests = {
        name: shards.file_sha256(shards.join(folder, name), "the checkpoint was just written")
        for name in names
    }
    shards.put(_digests_url(folder, rank), json.dumps(digests, indent=1).encode())


def _is_damaged(folder: str, writer: int) -> bool:
    try:
        digests = json.loads(shards.get(_digests_url(folder, writer)))
        return any(
            shards.file_sha256(shards.join(folder, name), "it is left out") != digest
            for name, digest in digests.items()
        )
    except (FileNotFoundError, ValueError):
        return True
