"""Steps without a usable gradient are skipped; a lasting spike returns to an older checkpoint."""

import math
import os
import signal
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import pytest
import safetensors.torch
import torch

from snow_assets.pretraining.checkpoint_stats import finish_checkpoint
from snow_assets.pretraining.contract import RESUME, PretrainingRequest
from snow_assets.pretraining.train_module import DecoderTrainModule
from snow_assets.pretraining.training import work
from snow_assets.storage import shards
from tests.pretraining.builders import (
    CONTEXT,
    OPTIMIZATION,
    PHASE,
    QuietProgress,
    a_request,
    clean_text,
    put_packs,
)

RECIPE = replace(
    PHASE, tokens=160 * CONTEXT, peak_learning_rate=2e-3, checkpoint_steps=5, max_passes=20
)
SPIKES = replace(OPTIMIZATION, spike_window_steps=8, rollback_after_skipped_steps=3)


@pytest.fixture
def request_of_phase(lake_url: str) -> PretrainingRequest:
    packs = put_packs(lake_url, clean_text(lake_url, RECIPE.max_passes), phase=RECIPE)
    return a_request(lake_url, packs, recipe=RECIPE, optimization=SPIKES)


class Fault(ABC):
    """Changes the train module at the begin of chosen calls of `train_batch` or `optim_step`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str, steps: set[int]) -> None:
        self.steps, self.calls, fault = steps, 0, self
        original = getattr(DecoderTrainModule, method)

        def faulty(module: DecoderTrainModule, *args: Any) -> Any:
            fault.calls += 1
            if fault.calls in fault.steps:
                fault.apply(module)
            return original(module, *args)

        monkeypatch.setattr(DecoderTrainModule, method, faulty)

    @abstractmethod
    def apply(self, module: DecoderTrainModule) -> None: ...


class NanGradient(Fault):
    def apply(self, module: DecoderTrainModule) -> None:
        next(module.model.parameters()).grad[0, 0] = math.nan


class DamagedWeights(Fault):
    """What follows is a spike that lasts."""

    def apply(self, module: DecoderTrainModule) -> None:
        with torch.no_grad():
            for weights in module.model.parameters():
                weights.mul_(20)


def weights_of(request: PretrainingRequest) -> dict[str, torch.Tensor]:
    content = shards.get(f"{request.output}/model/model.safetensors")
    tensors: dict[str, torch.Tensor] = safetensors.torch.load(content)
    return tensors


def test_a_step_with_a_nan_gradient_is_skipped_and_counted(
    request_of_phase: PretrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = QuietProgress()
    request_of_phase = replace(request_of_phase, optimization=OPTIMIZATION)
    NanGradient(monkeypatch, "optim_step", {1, 7})
    report = work(request_of_phase, progress)
    assert (report.steps, report.skipped_steps, report.rollbacks) == (40, 2, 0)
    assert report.tokens == RECIPE.tokens - 2 * RECIPE.global_batch_size * CONTEXT
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(request_of_phase).values())
    assert report.last_loss_bits < report.first_loss_bits
    assert [entry["skipped_steps"] for entry in progress.steps[5:8]] == [1, 2, 2]
    assert "gradient_norm" not in progress.steps[6]
    stats = finish_checkpoint(request_of_phase.output, report)
    assert (stats["skipped_steps"], stats["rollbacks"], stats["rolled_back_steps"]) == (2, 0, 0)


def test_documents_of_skipped_steps_are_not_among_the_trained_ones(
    request_of_phase: PretrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    NanGradient(monkeypatch, "optim_step", {7, 20})
    report = work(request_of_phase, QuietProgress())
    seen = shards.read_unfinished(request_of_phase.output, "seen")
    assert sum(seen["num_tokens"].to_pylist()) == report.tokens < RECIPE.tokens


def test_a_lasting_spike_rolls_back_to_an_older_checkpoint_and_goes_on(
    request_of_phase: PretrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = QuietProgress()
    DamagedWeights(monkeypatch, "train_batch", {19})
    report = work(request_of_phase, progress)
    assert (report.rollbacks, report.skipped_steps, report.rolled_back_steps) == (1, 3, 6)
    assert report.tokens == RECIPE.tokens - 6 * RECIPE.global_batch_size * CONTEXT
    losses = [entry["loss_bits"] for entry in progress.steps]
    assert min(losses[18:21]) > losses[17] + 1
    assert max(losses[21:]) < losses[17] + 1
    assert [entry["step"] for entry in progress.steps] == list(range(1, 41))
    line = "general: rolled back to step 15; the batches up to step 21 are left out"
    assert line in progress.lines


def test_a_step_that_two_rollbacks_undo_is_counted_once(
    request_of_phase: PretrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimization = replace(SPIKES, max_rollbacks=2)
    DamagedWeights(monkeypatch, "train_batch", {19, 22})
    progress = QuietProgress()
    report = work(replace(request_of_phase, optimization=optimization), progress)
    undone = [line for line in progress.lines if "rolled back" in line]
    assert [line.split(";")[0] for line in undone] == [
        "general: rolled back to step 15",
        "general: rolled back to step 15",
    ]
    assert (report.rollbacks, report.rolled_back_steps) == (2, 9)  # steps 16 to 24
    assert report.tokens == RECIPE.tokens - 9 * RECIPE.global_batch_size * CONTEXT


def test_a_rollback_survives_a_kill(
    request_of_phase: PretrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    def kill(step: int) -> None:
        if step == 23:
            raise KilledError

    whole = replace(request_of_phase, output=f"{request_of_phase.output}-whole")
    with monkeypatch.context() as patch:
        DamagedWeights(patch, "train_batch", {19})
        expected = work(whole, QuietProgress())
    with monkeypatch.context() as patch:
        DamagedWeights(patch, "train_batch", {19})
        with pytest.raises(KilledError):
            work(request_of_phase, QuietProgress(after=kill))
    report = work(request_of_phase, QuietProgress())
    assert report.resumed_from == 21
    assert (report.rollbacks, report.tokens) == (1, expected.tokens)
    assert report.last_loss_bits == expected.last_loss_bits


def test_spikes_after_the_last_allowed_rollback_end_the_phase(
    request_of_phase: PretrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    DamagedWeights(monkeypatch, "train_batch", {19, 30})
    with pytest.raises(ValueError, match=r"rolled back 1 times already: lower peak_learning_rate"):
        work(request_of_phase, QuietProgress())


def test_skipped_steps_before_the_first_checkpoint_end_the_phase(
    request_of_phase: PretrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    NanGradient(monkeypatch, "optim_step", {2, 3, 4})
    with pytest.raises(ValueError, match=r"steps 2 to 4 are skipped, and no checkpoint is older"):
        work(request_of_phase, QuietProgress())
    assert shards.names(f"{request_of_phase.output}/{RESUME}") == []


def test_a_resumed_phase_remembers_the_losses_that_a_spike_is_compared_with(
    request_of_phase: PretrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminate(step: int) -> None:
        if step == 17:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        work(request_of_phase, QuietProgress(after=terminate))
    DamagedWeights(monkeypatch, "train_batch", {2})  # step 19
    report = work(request_of_phase, QuietProgress())
    assert (report.resumed_from, report.rollbacks) == (17, 1)
