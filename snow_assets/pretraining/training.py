"""One pretraining phase as a job: packs and a parent in, a checkpoint and what it saw out.

A phase is a function of its request: on a CPU with the same number of threads, a run that was
killed and resumed ends with the same bytes as one that was not. A batch's sequences are shared out
among the ranks (`ranks.py`), one device each; the first rank writes.
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

from snow_assets import pod, shards
from snow_assets.curation.tokens import fetch_tokenizer, load_tokenizer
from snow_assets.pretraining import checkpoints
from snow_assets.pretraining.checkpoints import Position
from snow_assets.pretraining.contract import (
    RESUME,
    Optimization,
    Pretraining,
    PretrainingReport,
)
from snow_assets.pretraining.llama import Llama, next_token_loss
from snow_assets.pretraining.model import load_parent, new_model, save_model
from snow_assets.pretraining.ordering import training_order
from snow_assets.pretraining.packs import memory_mapped, passes_by_language
from snow_assets.pretraining.ranks import Ranks, joined
from snow_assets.pretraining.schedule import learning_rate
from snow_assets.pretraining.seen import put_seen
from snow_assets.remaining import Remaining

_FRESH = Position(step=0, sequences=0, first_loss_bits=math.nan, last_loss_bits=math.nan)


def work(request: Pretraining, progress: pod.Progress) -> PretrainingReport:
    """Train, then put `model/` and table `seen` into the output's generation.

    The last checkpoint stays in the output's `resume` folder: until the report is written, it is
    all that saves a killed job from starting over. Whoever reads the report deletes it.
    """
    with joined() as ranks:
        return _work(request, progress, ranks)


def _work(request: Pretraining, progress: pod.Progress, ranks: Ranks) -> PretrainingReport:
    _make_deterministic(request.optimization)
    tokenizer = load_tokenizer(request.tokenizer)
    model = _starting_model(request).to(ranks.device)
    resume = shards.join(request.output, RESUME)
    with tempfile.TemporaryDirectory(prefix="pretraining-") as scratch:
        sequences = memory_mapped(
            request.packs,
            Path(scratch) / "tokens",
            context_tokens=request.model.context_tokens,
            vocabulary=tokenizer.get_vocab_size(),
        )
        report = train(model, sequences, request, resume=resume, progress=progress, ranks=ranks)
        if not ranks.is_first:
            return report
        given = fetch_tokenizer(request.tokenizer)
        save_model(model.cpu(), given, tokenizer, Path(scratch) / "model")
        shards.put_folder(request.output, Path(scratch) / "model", prefix="model")
    put_seen(request.packs, request.output)
    return report


def _make_deterministic(optimization: Optimization) -> None:
    torch.set_num_threads(optimization.threads)
    # Several CUDA kernels have no deterministic form; on a CPU all that we use have.
    torch.use_deterministic_algorithms(not torch.cuda.is_available())
    # We read no memory that nobody wrote; filling it first takes a twentieth of an update.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _starting_model(request: Pretraining) -> Llama:
    tokenizer = load_tokenizer(request.tokenizer)
    model = new_model(request.model, tokenizer, seed=request.optimization.seed)
    if request.parent is None:
        return model
    with tempfile.TemporaryDirectory(prefix="parent-") as local:
        folder = shards.fetch_folder(request.parent, Path(local), prefix="model")
        return load_parent(folder, request.model, tokenizer)


def request_digest(request: Pretraining) -> str:
    """Names all that decides a phase's outcome, wherever packs, parent and output lie."""
    known = asdict(request)
    known["output"] = None
    for name in ("packs", "tokenizer", "parent"):
        folder = getattr(request, name)
        known[name] = None if folder is None else shards.manifest(folder).digest
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def train(
    model: Llama,
    sequences: np.ndarray,
    request: Pretraining,
    *,
    resume: str,
    progress: pod.Progress,
    ranks: Ranks,
) -> PretrainingReport:
    """Train on every sequence once, from the latest checkpoint in `resume` if there is one.

    SIGTERM ends it with exit code 143, after the step in progress and a checkpoint.
    """
    recipe = request.recipe
    if sequences.size != recipe.tokens:
        raise ValueError(
            f"{request.packs} holds {sequences.size} tokens, and the {request.phase} phase trains "
            f"on exactly {recipe.tokens}: materialize the packs again"
        )
    if recipe.batch_sequences % ranks.size:
        raise ValueError(
            f"a batch of {recipe.batch_sequences} sequences cannot be shared by {ranks.size} "
            "processes alike: choose a number of GPUs that divides batch_sequences"
        )
    order = training_order(
        passes_by_language(request.packs), phase=request.phase, seed=request.optimization.seed
    )
    steps = len(order) // recipe.batch_sequences
    optimizer = make_optimizer(model, request.optimization)
    digest = request_digest(request)
    position = checkpoints.load(resume, request=digest, model=model, optimizer=optimizer) or _FRESH
    resumed_from, started = position.step, time.monotonic()
    remaining = Remaining(steps - resumed_from, "steps")
    if resumed_from:
        progress.say(f"{request.phase}: resumed after step {resumed_from} of {steps}")

    def save() -> None:
        if not ranks.is_first:
            return
        progress.flush()
        checkpoints.save(
            resume, request=digest, position=position, model=model, optimizer=optimizer
        )

    shared = DistributedDataParallel(model) if ranks.size > 1 else model
    with _termination_noted() as is_terminated:
        while position.step < steps:
            step_started = time.monotonic()
            step = position.step + 1
            rate = learning_rate(step, steps=steps, recipe=recipe)
            chosen = order[position.sequences : position.sequences + recipe.batch_sequences]
            mine = sequences[chosen[ranks.rank :: ranks.size]]
            loss = update(shared, optimizer, mine, rate, request.optimization, ranks)
            position = Position(
                step=step,
                sequences=position.sequences + len(chosen),
                first_loss_bits=loss if step == 1 else position.first_loss_bits,
                last_loss_bits=loss,
            )
            remaining.advance()
            tokens = position.sequences * sequences.shape[1]
            speed = len(chosen) * sequences.shape[1] / (time.monotonic() - step_started)
            progress.metrics(
                step, loss_bits=loss, learning_rate=rate, tokens=tokens, tokens_per_second=speed
            )
            if ranks.any(is_terminated()):
                save()
                progress.say(f"{request.phase}: terminated, saved after step {step} of {steps}")
                sys.exit(pod.PREEMPTED)
            if step % recipe.checkpoint_steps == 0 or step == steps:
                save()
                progress.say(
                    f"{request.phase}: step {step} of {steps}, {loss:.3f} bits per token"
                    f"{remaining.left()}"
                )
    return PretrainingReport(
        steps=steps,
        sequences=position.sequences,
        tokens=position.sequences * sequences.shape[1],
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        first_loss_bits=position.first_loss_bits,
        last_loss_bits=position.last_loss_bits,
        device=str(next(model.parameters()).device),
        seconds=time.monotonic() - started,
        resumed_from=resumed_from,
    )


def make_optimizer(model: torch.nn.Module, optimization: Optimization) -> torch.optim.AdamW:
    """AdamW; weight decay on matrices only (embeddings are one), not on norms' gains."""
    parameters = list(model.parameters())
    matrices = [parameter for parameter in parameters if parameter.dim() >= 2]
    gains = [parameter for parameter in parameters if parameter.dim() < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": optimization.weight_decay},
            {"params": gains, "weight_decay": 0.0},
        ],
        lr=0.0,  # set before each update
        betas=(optimization.beta1, optimization.beta2),
    )


def update(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: np.ndarray,
    rate: float,
    optimization: Optimization,
    ranks: Ranks,
) -> float:
    """One update on this rank's share of a batch; returns the whole batch's loss before it, in
    bits per token."""
    device = ranks.device
    rows = torch.from_numpy(batch.astype(np.int64))
    num_parts = -(-len(rows) // optimization.micro_batch_sequences)
    model.train()
    total = torch.zeros((), device=device)
    parts = rows.chunk(num_parts)
    for index, part in enumerate(parts):
        tokens = part.to(device)
        with _gradients_shared(model, is_last=index == len(parts) - 1):
            with torch.autocast(
                device.type, torch.bfloat16, enabled=optimization.precision == "bf16"
            ):
                loss = next_token_loss(model(tokens), tokens) / num_parts
            loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    torch.nn.utils.clip_grad_norm_(model.parameters(), optimization.gradient_clip)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    bits = ranks.mean(total).item() / math.log(2)
    if not math.isfinite(bits):
        raise ValueError(f"the loss is {bits} at learning rate {rate}: lower peak_learning_rate")
    return bits


def _gradients_shared(model: torch.nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
    """Ranks add up their gradients once per update, with its last part."""
    if isinstance(model, DistributedDataParallel) and not is_last:
        return model.no_sync()
    return nullcontext()


@contextmanager
def _termination_noted() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGTERM came, instead of dying of it."""
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    pod.main(Pretraining, work)
