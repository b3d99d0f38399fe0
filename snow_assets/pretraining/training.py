"""Job of one pretraining phase: trains on packs, from a parent checkpoint or random weights.

Deterministic: on a CPU with the same number of threads, an interrupted and resumed run gives the
same bytes as an uninterrupted one. A global batch is split among the ranks (`distributed.py`), one
device each; rank 0 writes.
"""

import hashlib
import json
import math
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from snow_assets.curation.tokenizer.tokens import fetch_tokenizer, load_tokenizer
from snow_assets.pretraining import checkpoints
from snow_assets.pretraining.checkpoints import TrainingState
from snow_assets.pretraining.contract import (
    RESUME,
    Optimization,
    PretrainingReport,
    PretrainingRequest,
)
from snow_assets.pretraining.distributed import World, init_world
from snow_assets.pretraining.llama import Llama, next_token_loss
from snow_assets.pretraining.model import load_parent, new_model, save_model
from snow_assets.pretraining.ordering import training_order
from snow_assets.pretraining.packs import passes_by_language
from snow_assets.pretraining.schedule import learning_rate
from snow_assets.pretraining.sequences import PackedSequences, open_sequences
from snow_assets.pretraining.trained_documents import write_trained_documents
from snow_assets.runtime import worker
from snow_assets.runtime.remaining_time import Remaining
from snow_assets.storage import shards

_INITIAL_STATE = TrainingState(
    step=0, sequences=0, first_loss_bits=math.nan, last_loss_bits=math.nan
)


def work(request: PretrainingRequest, progress: worker.Progress) -> PretrainingReport:
    """Train, then write `model/` and table `seen` to the output artifact.

    The last checkpoint stays in the output's `resume` folder until the report is written, so that a
    kill in between loses no training; `finish_checkpoint` deletes it.
    """
    with init_world() as world:
        return _train_phase(request, progress, world)


def _train_phase(
    request: PretrainingRequest, progress: worker.Progress, world: World
) -> PretrainingReport:
    _make_deterministic(request.optimization)
    tokenizer = load_tokenizer(request.tokenizer)
    model = _initial_model(request).to(world.device)
    resume = shards.join(request.output, RESUME)
    with tempfile.TemporaryDirectory(prefix="pretraining-") as scratch:
        sequences = open_sequences(
            request.packs,
            max_seq_len=request.model.max_seq_len,
            vocab_size=tokenizer.get_vocab_size(),
        )
        report = train(model, sequences, request, resume=resume, progress=progress, world=world)
        if not world.is_first:
            return report
        tokenizer_folder = fetch_tokenizer(request.tokenizer)
        save_model(model.cpu(), tokenizer_folder, tokenizer, Path(scratch) / "model")
        shards.put_folder(request.output, Path(scratch) / "model", prefix="model")
    write_trained_documents(request.packs, request.output)
    return report


def _make_deterministic(optimization: Optimization) -> None:
    torch.set_num_threads(optimization.threads)
    # Several CUDA kernels have no deterministic form; all that are used on a CPU have.
    torch.use_deterministic_algorithms(not torch.cuda.is_available())
    # No uninitialized memory is read; filling it would take a twentieth of an update.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _initial_model(request: PretrainingRequest) -> Llama:
    tokenizer = load_tokenizer(request.tokenizer)
    model = new_model(request.model, tokenizer, seed=request.optimization.seed)
    if request.parent is None:
        return model
    with tempfile.TemporaryDirectory(prefix="parent-") as local:
        folder = shards.fetch_folder(request.parent, Path(local), prefix="model")
        return load_parent(folder, request.model, tokenizer)


def request_digest(request: PretrainingRequest) -> str:
    """Hash of everything that determines a phase's result, independent of artifact locations."""
    fields = asdict(request)
    fields["output"] = None
    for name in ("packs", "tokenizer", "parent"):
        folder = getattr(request, name)
        fields[name] = None if folder is None else shards.manifest(folder).digest
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def train(
    model: Llama,
    sequences: PackedSequences | np.ndarray,
    request: PretrainingRequest,
    *,
    resume: str,
    progress: worker.Progress,
    world: World,
) -> PretrainingReport:
    """Train on every sequence once, resuming from the latest checkpoint in `resume`.

    SIGTERM exits with code 143 after the current step and a checkpoint.
    """
    recipe = request.recipe
    if sequences.size != recipe.tokens:
        raise ValueError(
            f"{request.packs} holds {sequences.size} tokens, and the {recipe.name} phase trains "
            f"on exactly {recipe.tokens}: materialize the packs again"
        )
    if recipe.global_batch_size % world.world_size:
        raise ValueError(
            f"a batch of {recipe.global_batch_size} sequences cannot be shared by "
            f"{world.world_size} processes alike: choose a number of GPUs that divides "
            "global_batch_size"
        )
    order = training_order(
        passes_by_language(request.packs), phase=recipe.name, seed=request.optimization.seed
    )
    steps = len(order) // recipe.global_batch_size
    optimizer = make_optimizer(model, request.optimization)
    digest = request_digest(request)
    state = (
        checkpoints.load(resume, request=digest, model=model, optimizer=optimizer) or _INITIAL_STATE
    )
    resumed_from, started = state.step, time.monotonic()
    remaining = Remaining(steps - resumed_from, "steps")
    if resumed_from:
        progress.log(f"{recipe.name}: resumed after step {resumed_from} of {steps}")

    def save() -> None:
        if not world.is_first:
            return
        progress.flush()
        checkpoints.save(resume, request=digest, state=state, model=model, optimizer=optimizer)

    data_parallel = DistributedDataParallel(model) if world.world_size > 1 else model
    with _defer_sigterm() as is_terminated:
        while state.step < steps:
            step_started = time.monotonic()
            step = state.step + 1
            lr = learning_rate(step, steps=steps, recipe=recipe)
            global_batch = order[state.sequences : state.sequences + recipe.global_batch_size]
            rank_batch = sequences[global_batch[world.rank :: world.world_size]]
            loss = update(data_parallel, optimizer, rank_batch, lr, request.optimization, world)
            state = TrainingState(
                step=step,
                sequences=state.sequences + len(global_batch),
                first_loss_bits=loss if step == 1 else state.first_loss_bits,
                last_loss_bits=loss,
            )
            remaining.advance()
            tokens = state.sequences * sequences.shape[1]
            tokens_per_second = (
                len(global_batch) * sequences.shape[1] / (time.monotonic() - step_started)
            )
            progress.metrics(
                step,
                loss_bits=loss,
                learning_rate=lr,
                tokens=tokens,
                tokens_per_second=tokens_per_second,
            )
            if world.all_reduce_any(is_terminated()):
                save()
                progress.log(f"{recipe.name}: terminated, saved after step {step} of {steps}")
                sys.exit(worker.PREEMPTED)
            if step % recipe.checkpoint_steps == 0 or step == steps:
                save()
                progress.log(
                    f"{recipe.name}: step {step} of {steps}, {loss:.3f} bits per token"
                    f"{remaining.left()}"
                )
    return PretrainingReport(
        steps=steps,
        sequences=state.sequences,
        tokens=state.sequences * sequences.shape[1],
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        first_loss_bits=state.first_loss_bits,
        last_loss_bits=state.last_loss_bits,
        device=str(next(model.parameters()).device),
        seconds=time.monotonic() - started,
        resumed_from=resumed_from,
    )


def make_optimizer(model: torch.nn.Module, optimization: Optimization) -> torch.optim.AdamW:
    """AdamW; weight decay on matrices, embeddings included, and not on the norms' weights."""
    parameters = list(model.parameters())
    matrices = [parameter for parameter in parameters if parameter.dim() >= 2]
    norm_weights = [parameter for parameter in parameters if parameter.dim() < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": optimization.weight_decay},
            {"params": norm_weights, "weight_decay": 0.0},
        ],
        lr=0.0,  # set before each update
        betas=(optimization.beta1, optimization.beta2),
    )


def update(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    rank_batch: np.ndarray,
    lr: float,
    optimization: Optimization,
    world: World,
) -> float:
    """One optimizer step on this rank's part of the global batch, with gradient accumulation.

    Returns the global batch's mean loss before the step, in bits per token.
    """
    device = world.device
    rows = torch.from_numpy(rank_batch.astype(np.int64))
    num_micro_batches = -(-len(rows) // optimization.micro_batch_size)
    model.train()
    loss_sum = torch.zeros((), device=device)
    micro_batches = rows.chunk(num_micro_batches)
    for index, micro_batch in enumerate(micro_batches):
        input_ids = micro_batch.to(device)
        with _gradient_sync(model, is_last=index == len(micro_batches) - 1):
            with torch.autocast(
                device.type, torch.bfloat16, enabled=optimization.precision == "bf16"
            ):
                loss = next_token_loss(model(input_ids), input_ids) / num_micro_batches
            loss.backward()  # type: ignore[no-untyped-call]
        loss_sum += loss.detach()
    torch.nn.utils.clip_grad_norm_(model.parameters(), optimization.max_grad_norm)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    bits = world.all_reduce_mean(loss_sum).item() / math.log(2)
    if not math.isfinite(bits):
        raise ValueError(f"the loss is {bits} at learning rate {lr}: lower peak_learning_rate")
    return bits


def _gradient_sync(model: torch.nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
    """Synchronise gradients between ranks only in the last micro-batch of an update."""
    if isinstance(model, DistributedDataParallel) and not is_last:
        return model.no_sync()
    return nullcontext()


@contextmanager
def _defer_sigterm() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGTERM was received; it no longer ends the process."""
    received: list[int] = []
    previous_handler = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, previous_handler)


if __name__ == "__main__":
    worker.main(PretrainingRequest, work)
