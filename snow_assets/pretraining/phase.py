"""The training loop of a pretraining phase: what a step trains on, metrics, checkpoints, rollbacks.

Deterministic: on a CPU, an interrupted and resumed run of the same execution gives the same bytes
as an uninterrupted one. A global batch is split among the ranks; rank 0 reports.
"""

import hashlib
import math
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from olmo_core.distributed.utils import all_reduce_value, get_rank, get_world_size
from pydantic import TypeAdapter
from torch import Tensor

from snow_assets.curation.tokenizer.tokens import load_tokenizer
from snow_assets.pretraining.contract import (
    EXECUTION_FIELDS,
    RESUME,
    VALIDATION_PREFIX,
    PretrainingReport,
    PretrainingRequest,
)
from snow_assets.pretraining.model import (
    initial_weights,
    parent_weights,
)
from snow_assets.pretraining.ordering import training_order
from snow_assets.pretraining.resume import ResumeFolder, TrainingState
from snow_assets.pretraining.schedule import learning_rate
from snow_assets.pretraining.sequences import (
    PackedSequences,
    passes_by_language,
)
from snow_assets.pretraining.train_module import (
    DecoderTrainModule,
    StepResult,
)
from snow_assets.pretraining.validation import (
    ValidationTexts,
    bits_per_byte,
)
from snow_assets.runtime import worker
from snow_assets.runtime.remaining_time import Remaining, duration
from snow_assets.storage import shards

_LOG_SECONDS = 30.0  # between two log lines


def request_digest(request: PretrainingRequest) -> str:
    """Hash of what determines a phase's result, and not of locations and execution."""
    inputs = {
        name: shards.manifest(folder).digest
        for name in ("packs", "tokenizer", "parent")
        if (folder := getattr(request, name)) is not None
    }
    excluded = {"output", "packs", "tokenizer", "parent", *EXECUTION_FIELDS}
    content = TypeAdapter(PretrainingRequest).dump_json(request, exclude=excluded)
    return hashlib.sha256(content + repr(sorted(inputs.items())).encode()).hexdigest()


@dataclass
class Phase:
    """One phase's run on this rank: trains on every sequence of the order once."""

    request: PretrainingRequest
    module: DecoderTrainModule
    sequences: PackedSequences | np.ndarray  # (sequences, max_seq_len)
    progress: worker.Progress
    attention_lengths: Callable[[np.ndarray], Tensor | None] = lambda _: None  # of a rank's batch
    validation: Mapping[str, ValidationTexts] = field(default_factory=dict)  # by language
    state: TrainingState = field(default_factory=lambda: TrainingState(step=0))
    remaining: Remaining = field(init=False)  # of this attempt's steps
    _step_ended: float | None = None  # of this attempt's last step, with its validation

    def __post_init__(self) -> None:
        recipe, world_size = self.request.recipe, get_world_size()
        if self.sequences.size != recipe.tokens:
            raise ValueError(
                f"{self.request.packs} holds {self.sequences.size} tokens, and the {recipe.name} "
                f"phase trains on exactly {recipe.tokens}: materialize the packs again"
            )
        if recipe.global_batch_size % world_size:
            raise ValueError(
                f"a batch of {recipe.global_batch_size} sequences cannot be shared by {world_size} "
                "processes alike: choose a number of processes that divides global_batch_size"
            )
        self.order = training_order(
            passes_by_language(self.request.packs),
            phase=recipe.name,
            seed=self.request.optimization.seed,
        )
        self.num_steps = len(self.order) // recipe.global_batch_size
        self.resume_folder = ResumeFolder(
            url=shards.join(self.request.output, RESUME),
            request=request_digest(self.request),
            module=self.module,
            keep_every_steps=recipe.checkpoint_steps
            * (self.request.execution.keep_every_checkpoints or 0),
        )

    def train(self) -> PretrainingReport:
        """Train to the phase's end, from the latest checkpoint if there is one.

        SIGTERM exits with code 143 after the current step and a checkpoint.
        """
        recipe, started = self.request.recipe, time.monotonic()
        limit = self.request.optimization.rollback_after_skipped_steps
        self._resume()
        resumed_from = self.state.step
        self.remaining = Remaining(self.num_steps - resumed_from, "steps", log_seconds=_LOG_SECONDS)
        with _defer_sigterm() as is_terminated:
            while self.state.step < self.num_steps:
                result = self._step()
                step = self.state.step
                # One collective a step for both questions.
                flags = torch.tensor([float(is_terminated()), float(self.resume_folder.is_saving)])
                flags = all_reduce_value(flags, self.module.device, op=dist.ReduceOp.MAX)
                if flags[0]:
                    self._save()
                    self.resume_folder.finish_save()
                    self._log(f"terminated, saved after step {step} of {self.num_steps}")
                    sys.exit(worker.PREEMPTED)
                if not flags[1]:
                    self.resume_folder.finish_save()
                is_last = step == self.num_steps
                if self.state.must_roll_back(limit):
                    self._roll_back()
                elif step % recipe.checkpoint_steps == 0 or is_last:
                    self._save()
                if self.remaining.is_due() or is_last or step == resumed_from + 1:
                    self._log(
                        f"step {step} of {self.num_steps}, {result.loss_bits:.3f} bits per token"
                        f"{self._pace()}"
                    )
            self.resume_folder.finish_save()
        return self._report(seconds=time.monotonic() - started, resumed_from=resumed_from)

    def excluded_sequences(self) -> np.ndarray:
        """Indices of the sequences that were skipped, or whose update a rollback undid."""
        size = self.request.recipe.global_batch_size
        batches = self.order[: self.num_steps * size].reshape(self.num_steps, size)
        excluded: np.ndarray = batches[[step - 1 for step in self.state.excluded_steps()]].flatten()
        return excluded

    def _resume(self) -> None:
        state = self.resume_folder.load()
        if state is None:
            self._load_first_weights()
            return
        self.state = state
        self._log(f"resumed after step {state.step} of {self.num_steps}")

    def _load_first_weights(self) -> None:
        """The parent's weights or random ones. Host memory of rank 0: the weights in fp32."""
        weights, parent = {}, self.request.parent
        if get_rank() == 0 and parent is None:
            seed = self.request.optimization.seed
            weights = initial_weights(self.module.weight_shapes(), seed=seed)
        elif get_rank() == 0 and parent is not None:
            with tempfile.TemporaryDirectory(prefix="parent-") as local:
                folder = shards.fetch_folder(parent, Path(local), prefix="model")
                tokenizer = load_tokenizer(self.request.tokenizer)
                weights = parent_weights(folder, self.request.model, tokenizer)
        self.module.load_weights(weights)

    def _rank_batch(self, step: int) -> np.ndarray:
        """This rank's rows of a step's global batch: the only reader of the packs."""
        size = self.request.recipe.global_batch_size
        global_batch = self.order[(step - 1) * size : step * size]
        rows: np.ndarray = self.sequences[global_batch[get_rank() :: get_world_size()]]
        return rows

    def _step(self) -> StepResult:
        """Train on the next batch of the order, and report its metrics."""
        recipe, state, started = self.request.recipe, self.state, time.monotonic()
        step = state.step + 1
        rate = learning_rate(step, steps=self.num_steps, recipe=recipe)
        batch = self._rank_batch(step)
        wait_seconds = time.monotonic() - started
        result = self.module.train_step(batch, rate, self.attention_lengths(batch))
        if result.is_skipped:
            self.state = replace(state, step=step, skipped_steps=(*state.skipped_steps, step))
        else:
            first = result.loss_bits if state.first_loss_bits is None else state.first_loss_bits
            self.state = replace(
                state, step=step, first_loss_bits=first, last_loss_bits=result.loss_bits
            )
        self.remaining.count()
        step_tokens = recipe.global_batch_size * self.sequences.shape[1]
        tokens_per_second = step_tokens / (time.monotonic() - started)
        utilization = self.module.model_flops_utilization(tokens_per_second)
        step_seconds = None
        if self._step_ended is not None:
            step_seconds = time.monotonic() - self._step_ended
        validation_metrics = self._validation_metrics(step)
        self._step_ended = time.monotonic()
        self.progress.metrics(
            step,
            **_finite(
                loss_bits=result.loss_bits,
                gradient_norm=result.gradient_norm,
                model_flops_utilization=utilization,
                step_seconds=step_seconds,
            ),
            learning_rate=rate,
            tokens=step * step_tokens,
            tokens_per_second=tokens_per_second,
            data_wait_seconds=wait_seconds,
            skipped_steps=len(self.state.skipped_steps),
            rollbacks=len(self.state.rollbacks),
            **self._duration_metrics(step),
            **validation_metrics,
        )
        return result

    def _duration_metrics(self, step: int) -> dict[str, float]:
        """Remaining and total seconds of the phase at this attempt's mean pace, and as planned."""
        step_seconds = self.remaining.unit_seconds()
        if step_seconds is None:
            return {}
        return _finite(
            remaining_seconds=step_seconds * (self.num_steps - step),
            expected_seconds=step_seconds * self.num_steps,
            planned_seconds=self.request.planned_seconds,
        )

    def _pace(self) -> str:
        """`, about 3 min left, 6 min expected in all, 5 min planned`, as far as it is known."""
        step_seconds, planned = self.remaining.unit_seconds(), self.request.planned_seconds
        line = self.remaining.left()
        if step_seconds is not None:
            line += f", {duration(step_seconds * self.num_steps)} expected in all"
        return line if planned is None else f"{line}, {duration(planned)} planned"

    def _validation_metrics(self, step: int) -> dict[str, float]:
        """Bits per byte by language, every `validation_steps` and after the last step."""
        execution = self.request.execution
        is_due = execution.validation_steps and step % execution.validation_steps == 0
        if not self.validation or not (is_due or step == self.num_steps):
            return {}
        started = time.monotonic()
        bits = bits_per_byte(
            self.module, self.validation, micro_batch_size=execution.micro_batch_size
        )
        return _finite(
            validation_seconds=time.monotonic() - started,
            **{f"{VALIDATION_PREFIX}{language}": value for language, value in bits.items()},
        )

    def _save(self) -> None:
        self.progress.flush()
        self.resume_folder.start_save(replace(self.state, window=self.module.optim.window()))

    def _roll_back(self) -> None:
        """Return to the weights of a checkpoint before the skipped steps, and pass over the batches
        since then. ValueError after too many rollbacks, or without such a checkpoint.
        """
        optimization, failed = self.request.optimization, self.state
        first_skipped = failed.first_skipped_step(optimization.rollback_after_skipped_steps)
        advice = "lower peak_learning_rate"
        if len(failed.rollbacks) == optimization.max_rollbacks:
            raise ValueError(
                f"step {failed.step} is skipped, and the run was rolled back "
                f"{optimization.max_rollbacks} times already: {advice}"
            )
        self.resume_folder.finish_save()
        # The last applied step is suspected, too.
        earlier = self.resume_folder.load(before=first_skipped - 1)
        if earlier is None:
            raise ValueError(
                f"steps {first_skipped} to {failed.step} are skipped, and no checkpoint is older: "
                f"{advice} or checkpoint_steps"
            )
        self.state = replace(
            failed,
            last_loss_bits=earlier.last_loss_bits,
            rollbacks=(*failed.rollbacks, (earlier.step + 1, failed.step)),
        )
        self.resume_folder.remove_after(earlier.step)
        self._save()
        self.resume_folder.finish_save()  # a kill must not undo the rollback
        self._log(
            f"rolled back to step {earlier.step}; the batches up to step {failed.step} are left out"
        )

    def _report(self, *, seconds: float, resumed_from: int) -> PretrainingReport:
        state, size = self.state, self.request.recipe.global_batch_size
        num_sequences = (self.num_steps - len(state.excluded_steps())) * size
        if state.first_loss_bits is None or state.last_loss_bits is None:
            raise ValueError("every step was skipped: lower peak_learning_rate")
        return PretrainingReport(
            steps=self.num_steps,
            sequences=num_sequences,
            tokens=num_sequences * self.sequences.shape[1],
            parameters=self.module.model.num_params,
            first_loss_bits=state.first_loss_bits,
            last_loss_bits=state.last_loss_bits,
            skipped_steps=len(state.skipped_steps),
            rollbacks=len(state.rollbacks),
            rolled_back_steps=len(state.rolled_back_steps()),
            device=str(self.module.device),
            seconds=seconds,
            resumed_from=resumed_from,
        )

    def _log(self, line: str) -> None:
        self.progress.log(f"{self.request.recipe.name}: {line}")


def _finite(**values: float | None) -> dict[str, float]:
    return {
        name: value for name, value in values.items() if value is not None and math.isfinite(value)
    }


@contextmanager
def _defer_sigterm() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGTERM was received; it no longer ends the process."""
    received: list[int] = []
    previous_handler: Any = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, previous_handler)
