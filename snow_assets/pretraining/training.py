"""Job of one pretraining phase: trains on packs, from a parent checkpoint or random weights.

The loop (`phase.py`) decides what a step trains on, at which rate, and when to save, roll back and
stop; OLMo-core's train module (`train_module.py`) does the step. Rank 0 reports and writes the
model.
"""

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from olmo_core.distributed.utils import get_rank

from snow_assets.curation.tokenizer.tokens import fetch_tokenizer, load_tokenizer
from snow_assets.pretraining.contract import (
    PretrainingReport,
    PretrainingRequest,
)
from snow_assets.pretraining.document_masks import attention_lengths
from snow_assets.pretraining.model import (
    save_model,
)
from snow_assets.pretraining.phase import Phase
from snow_assets.pretraining.sequences import (
    open_sequences,
)
from snow_assets.pretraining.train_module import (
    build_train_module,
    process_group,
)
from snow_assets.pretraining.trained_documents import write_trained_documents
from snow_assets.pretraining.validation import (
    ValidationTexts,
    validation_texts,
)
from snow_assets.runtime import worker
from snow_assets.storage import shards


def work(request: PretrainingRequest, progress: worker.Progress) -> PretrainingReport:
    """Train, then write `model/` and table `seen` to the output artifact.

    The last checkpoints stay in the output's `resume` folder until the report is written, so that a
    kill in between loses no training; `finish_checkpoint` deletes it.
    """
    with process_group() as device:
        return _train_phase(request, progress, device)


def _train_phase(
    request: PretrainingRequest, progress: worker.Progress, device: torch.device
) -> PretrainingReport:
    _make_deterministic(request.execution.threads)
    tokenizer = load_tokenizer(request.tokenizer)
    module = build_train_module(
        request.model,
        request.optimization,
        request.execution,
        device,
        vocab_size=tokenizer.get_vocab_size(),
        attention=request.recipe.attention,
    )
    sequences = open_sequences(
        request.packs,
        max_seq_len=request.model.max_seq_len,
        vocab_size=tokenizer.get_vocab_size(),
    )
    lengths = partial(attention_lengths, kind=request.recipe.attention, tokenizer=tokenizer)
    validation: Mapping[str, ValidationTexts] = {}
    if request.execution.validation_steps is not None:
        max_seq_len = request.model.max_seq_len
        validation = validation_texts(request.packs, tokenizer, max_seq_len=max_seq_len)
    phase = Phase(request, module, sequences, progress, lengths, validation)
    report = phase.train()
    weights = module.full_weights()
    if get_rank() != 0:
        return report
    with tempfile.TemporaryDirectory(prefix="pretraining-") as scratch:
        model = Path(scratch) / "model"
        tokenizer_folder = fetch_tokenizer(request.tokenizer, Path(scratch) / "tokenizer")
        save_model(weights, request.model, tokenizer, tokenizer_folder, model)
        shards.put_folder(request.output, model, prefix="model")
    write_trained_documents(
        request.packs, request.output, excluded_sequences=phase.excluded_sequences()
    )
    return report


def _make_deterministic(threads: int) -> None:
    torch.set_num_threads(threads)
    # Several CUDA kernels have no deterministic form; all that are used on a CPU have.
    torch.use_deterministic_algorithms(not torch.cuda.is_available())
    # No uninitialized memory is read; filling it would take a twentieth of an update.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


if __name__ == "__main__":
    worker.main(PretrainingRequest, work)
