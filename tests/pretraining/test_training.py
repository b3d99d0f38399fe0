"""One phase: it learns, it is a function of its request, and a kill changes nothing."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from snow_assets.pretraining.contract import RESUME, PretrainingReport, PretrainingRequest
from snow_assets.pretraining.model import initial_weights, parent_weights
from snow_assets.pretraining.phase import Phase, request_digest
from snow_assets.pretraining.train_module import DecoderTrainModule, build_train_module
from snow_assets.pretraining.training import work
from snow_assets.runtime import worker
from snow_assets.storage import shards
from tests.pretraining.builders import (
    CONTEXT,
    EXECUTION,
    MODEL,
    OPTIMIZATION,
    PHASE,
    QuietProgress,
    a_local_job,
    a_request,
    a_text,
    a_tokenizer,
    clean_text,
    finish,
    put_packs,
    synthetic_corpus,
)

STEPS = PHASE.tokens // CONTEXT // PHASE.global_batch_size


def a_packed_request(lake_url: str, **changes: object) -> PretrainingRequest:
    packs = f"{lake_url}/general_packs/all/g"
    if not shards.is_finished(packs):
        put_packs(lake_url, clean_text(lake_url))
    return a_request(lake_url, packs, **changes)  # type: ignore[arg-type]


def a_module(**execution: Any) -> DecoderTrainModule:
    module = build_train_module(
        MODEL,
        OPTIMIZATION,
        replace(EXECUTION, **execution),
        torch.device("cpu"),
        vocab_size=a_tokenizer().get_vocab_size(),
    )
    module.load_weights(initial_weights(module.weight_shapes(), seed=0))
    return module


def test_the_loss_falls_on_eight_repeated_sequences() -> None:
    ids = a_tokenizer().encode("".join(a_text(str(index)) for index in range(8))).ids
    batch = np.array(ids[: 8 * CONTEXT]).reshape(8, CONTEXT)
    module = a_module()
    losses = [module.train_step(batch, 1e-2).loss_bits for _ in range(25)]
    assert losses[-1] < 0.3 * losses[0]


def test_a_fresh_model_guesses_uniformly() -> None:
    batch = np.array(a_tokenizer().encode(a_text("x")).ids[:CONTEXT]).reshape(1, CONTEXT)
    loss = a_module().train_step(batch, 0.0).loss_bits
    assert loss == pytest.approx(np.log2(a_tokenizer().get_vocab_size()), rel=0.05)


@pytest.mark.parametrize(
    "execution",
    [
        {"micro_batch_size": 1},
        {"micro_batch_size": 4},
        {"micro_batch_size": 10, "activation_checkpointing": "feed_forward"},
        {"micro_batch_size": 10, "activation_checkpointing": "blocks"},
    ],
)
def test_gradients_do_not_depend_on_how_a_batch_is_computed(execution: dict[str, Any]) -> None:
    random = np.random.RandomState(0)
    batch = random.randint(0, 300, (10, CONTEXT))  # 4, 4 and 2 rows
    first_moments = []
    for changes in (execution, {"micro_batch_size": 10}):
        module = a_module(**changes)
        module.train_step(batch, 1e-3)
        # Adam's first moment is a tenth of the gradient; its update is little more than the sign.
        moments = [module.optim.state[weights]["exp_avg"] for weights in module.model.parameters()]
        first_moments.append(torch.cat([moment.flatten() for moment in moments]))
    assert torch.allclose(first_moments[0], first_moments[1], atol=1e-8)
    assert first_moments[0].abs().mean() > 1e-6


def test_weights_decay_in_matrices_only() -> None:
    module = a_module()
    norms, decayed = module.optim.param_groups
    assert (norms["weight_decay"], decayed["weight_decay"]) == (0.0, 0.1)
    assert {parameter.dim() for parameter in norms["params"]} == {1}
    assert len(norms["params"]) == 2 * MODEL.num_hidden_layers + 1
    counted = sum(len(group["params"]) for group in (norms, decayed))
    assert counted == len(list(module.model.parameters()))


def test_a_phase_trains_on_every_sequence_once_and_ends_at_its_final_rate(lake_url: str) -> None:
    request = a_packed_request(lake_url)
    progress = QuietProgress()
    report = work(request, progress)
    assert report.tokens == PHASE.tokens == progress.steps[-1]["tokens"]
    assert report.steps == STEPS == len(progress.steps)
    assert progress.steps[-1]["learning_rate"] == PHASE.final_learning_rate
    assert report.last_loss_bits < report.first_loss_bits
    finish(request.output)
    seen = shards.read(request.output, "seen")
    assert sum(seen["num_tokens"].to_pylist()) == PHASE.tokens
    spans = shards.read(request.packs, "spans")
    assert set(seen["document_id"].to_pylist()) == set(spans["document_id"].to_pylist())
    assert max(seen["num_passes"].to_pylist()) == max(spans["pass_index"].to_pylist()) + 1


def test_the_log_says_step_loss_and_remaining_time(
    lake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snow_assets.pretraining.phase._LOG_SECONDS", 0.0)
    monkeypatch.setattr("snow_assets.runtime.remaining_time._MIN_SECONDS", 0.0)
    progress = QuietProgress()
    work(replace(a_packed_request(lake_url), planned_seconds=300.0), progress)
    line = (
        r"general: step 5 of 10, \d\.\d{3} bits per token, about (\d+) s left, "
        r"(\d+) s expected in all, 5 min planned"
    )
    assert re.fullmatch(line, progress.lines[4])
    metrics = progress.steps[4]
    assert metrics["expected_seconds"] == pytest.approx(2 * metrics["remaining_seconds"])
    assert metrics["planned_seconds"] == 300.0


def test_the_checkpoint_loads_by_its_folder_alone_and_thinks_as_it_was_trained(
    lake_url: str,
) -> None:
    request = a_packed_request(lake_url)
    work(request, QuietProgress())
    module = a_module()
    sequences = np.zeros((PHASE.tokens // CONTEXT, CONTEXT), np.uint16)
    phase = Phase(request, module, sequences, QuietProgress())
    assert phase.resume_folder.load() is not None
    folder = f"{request.output}/model"
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(a_text("alpha"), return_tensors="pt").input_ids[:, :CONTEXT]
    assert ids[0].tolist() == a_tokenizer().encode(a_text("alpha")).ids[:CONTEXT]
    with torch.no_grad():
        assert torch.allclose(loaded(ids).logits, module.model(ids), atol=1e-5)
    assert loaded.config.tie_word_embeddings
    assert loaded.generation_config.eos_token_id == a_tokenizer().token_to_id("<|endoftext|>")
    assert isinstance(loaded, LlamaForCausalLM)


def digest_of(folder: str) -> str:
    return shards.content_digest(shards.records(folder))


@pytest.mark.parametrize("stop", [1, 3, 4, STEPS])
def test_stopping_at_a_step_and_resuming_equals_never_having_stopped(
    lake_url: str, stop: int
) -> None:
    whole = a_packed_request(lake_url, output="whole")
    torn = a_packed_request(lake_url, output="torn")
    expected = work(whole, QuietProgress())

    def terminate(step: int) -> None:
        if step == stop:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        work(torn, QuietProgress(after=terminate))
    assert ended.value.code == worker.PREEMPTED
    progress = QuietProgress()
    report = work(torn, progress)
    assert report.resumed_from == stop
    assert [entry["step"] for entry in progress.steps] == list(range(stop + 1, STEPS + 1))
    timed = [entry["step"] for entry in progress.steps if "step_seconds" in entry]
    assert timed == list(range(stop + 2, STEPS + 1))  # not the pause before the attempt
    assert digest_of(torn.output) == digest_of(whole.output)
    assert report.first_loss_bits == expected.first_loss_bits
    assert report.last_loss_bits == expected.last_loss_bits


def test_a_child_starts_from_its_parents_weights(lake_url: str) -> None:
    parent = a_packed_request(lake_url, output="parent")
    work(parent, QuietProgress())
    finish(parent.output)
    loaded = parent_weights(Path(parent.output) / "model", MODEL, a_tokenizer())
    child = a_packed_request(
        lake_url, output="child", parent=parent.output, recipe=replace(PHASE, name="continued")
    )
    report = work(child, QuietProgress())
    orphan = work(replace(child, parent=None, output=f"{lake_url}/x/all/orphan"), QuietProgress())
    assert report.first_loss_bits < orphan.first_loss_bits - 1
    assert len(loaded["model.embed_tokens.weight"]) == a_tokenizer().get_vocab_size()


def test_a_parent_of_another_shape_is_refused(lake_url: str) -> None:
    parent = a_packed_request(lake_url, output="parent")
    work(parent, QuietProgress())
    finish(parent.output)
    wider = replace(MODEL, intermediate_size=192)
    child = a_packed_request(lake_url, output="child", parent=parent.output, model=wider)
    with pytest.raises(ValueError, match="intermediate_size 128, and the recipe has 192"):
        work(child, QuietProgress())


def test_a_resume_with_another_request_is_refused(lake_url: str) -> None:
    request = a_packed_request(lake_url)
    work(request, QuietProgress())
    other = replace(request, recipe=replace(PHASE, peak_learning_rate=2e-2))
    with pytest.raises(ValueError, match=r"another request.*delete that folder"):
        work(other, QuietProgress())


def damage(checkpoint: str) -> None:
    name = next(name for name in shards.names(checkpoint) if name.endswith(".distcp"))
    content = shards.get(f"{checkpoint}/{name}")
    shards.put(f"{checkpoint}/{name}", content[:-1] + bytes([content[-1] ^ 1]))


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(lake_url: str) -> None:
    request = a_packed_request(lake_url)
    work(request, QuietProgress())
    model = digest_of(request.output)
    damage(f"{request.output}/{RESUME}/step-{STEPS:08d}")
    assert work(request, QuietProgress()).resumed_from == STEPS - 1
    assert digest_of(request.output) == model


def test_a_phase_with_only_damaged_checkpoints_is_refused(lake_url: str) -> None:
    request = a_packed_request(lake_url)
    work(request, QuietProgress())
    resume = f"{request.output}/{RESUME}"
    for name in shards.names(resume):
        damage(f"{resume}/{name}")
    with pytest.raises(ValueError, match=r"every checkpoint .* is damaged: delete that folder"):
        work(request, QuietProgress())


def test_a_checkpoint_that_a_kill_left_without_its_end_is_not_used(lake_url: str) -> None:
    request = a_packed_request(lake_url)
    work(request, QuietProgress())
    shards.remove(f"{request.output}/{RESUME}/step-{STEPS:08d}/checkpoint.json")
    assert work(request, QuietProgress()).resumed_from == STEPS - 1


@pytest.mark.parametrize(
    ("keep_every", "kept"), [(None, [8, 9, 10]), (2, [2, 4, 6, 8, 9, 10]), (4, [4, 8, 9, 10])]
)
def test_the_last_three_checkpoints_and_every_nth_are_kept(
    lake_url: str, keep_every: int | None, kept: list[int]
) -> None:
    request = a_packed_request(
        lake_url,
        recipe=replace(PHASE, checkpoint_steps=1),
        execution=replace(EXECUTION, keep_every_checkpoints=keep_every),
    )
    work(request, QuietProgress())
    assert shards.names(f"{request.output}/{RESUME}") == [f"step-{step:08d}" for step in kept]


def test_the_digest_of_a_request_does_not_depend_on_where_things_lie(lake_url: str) -> None:
    request = a_packed_request(lake_url)
    moved = Path(lake_url).rename(Path(lake_url).parent / "moved")
    there = TypeAdapter(PretrainingRequest).validate_json(
        TypeAdapter(PretrainingRequest)
        .dump_json(request)
        .replace(lake_url.encode(), str(moved).encode())
    )
    digest = request_digest(there)
    moved.rename(lake_url)
    assert digest == request_digest(request)
    assert digest != request_digest(replace(request, recipe=replace(PHASE, name="continued")))


def test_a_phase_resumes_with_another_size(lake_url: str) -> None:
    request = a_packed_request(lake_url)
    larger = replace(EXECUTION, micro_batch_size=4, threads=2, activation_checkpointing="blocks")
    assert request_digest(request) == request_digest(replace(request, execution=larger))

    def terminate(step: int) -> None:
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = work(replace(request, output=f"{request.output}-whole"), QuietProgress())
    with pytest.raises(SystemExit):
        work(request, QuietProgress(after=terminate))
    report = work(replace(request, execution=larger), QuietProgress())
    assert report.resumed_from == 4
    assert report.last_loss_bits == pytest.approx(whole.last_loss_bits, abs=1e-5)


def test_packs_of_another_size_are_refused(lake_url: str) -> None:
    request = a_packed_request(lake_url)
    larger = replace(request, recipe=replace(PHASE, tokens=2 * PHASE.tokens))
    sequences = np.zeros((PHASE.tokens // CONTEXT, CONTEXT), np.uint16)
    with pytest.raises(ValueError, match=r"holds 1280 tokens.*on exactly 2560"):
        Phase(larger, a_module(), sequences, QuietProgress())


def run_job(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "snow_assets.pretraining.training", str(folder)],
        stderr=subprocess.DEVNULL,
    )


def saved_steps(request: PretrainingRequest) -> list[int]:
    """Steps of the finished checkpoints."""
    resume = Path(request.output) / RESUME
    return sorted(int(path.parent.name[5:]) for path in resume.glob("step-*/checkpoint.json"))


def wait_for_step(request: PretrainingRequest, process: subprocess.Popen[bytes], step: int) -> None:
    while max(saved_steps(request), default=0) < step:
        assert process.poll() is None, "the job ended before it could be killed"
        time.sleep(0.005)


LONG = replace(PHASE, tokens=400 * CONTEXT, checkpoint_steps=5)
LINEAR = replace(LONG, schedule="linear", final_learning_rate=0.0, warmup_fraction=0.084)


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["general", "enhanced"])
def test_a_phase_that_is_killed_goes_on_as_if_never_stopped(
    lake_url: str, tmp_path: Path, phase: str
) -> None:
    enhanced = replace(LINEAR, name="enhanced", python_fraction=0.5)
    recipe = {"general": LONG, "enhanced": enhanced}
    make = synthetic_corpus if phase == "enhanced" else clean_text
    packs = put_packs(lake_url, make(lake_url, 10), name=f"{phase}_packs", phase=recipe[phase])
    parent = None
    if phase != "general":
        first = a_packed_request(lake_url, output="parent")
        work(first, QuietProgress())
        finish(first.output)
        parent = first.output
    requests = [
        a_request(lake_url, packs, output=output, parent=parent, recipe=recipe[phase])
        for output in ("whole", "torn")
    ]
    work(requests[0], QuietProgress())
    job = a_local_job(tmp_path / "job" / "attempt-001", requests[1])
    process = run_job(job)
    wait_for_step(requests[1], process, 10)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (job / "report.json").exists()
    again = a_local_job(tmp_path / "job" / "attempt-002", requests[1])
    assert run_job(again).wait() == 0
    report = TypeAdapter(PretrainingReport).validate_json((again / "report.json").read_bytes())
    assert report.resumed_from >= 10
    assert digest_of(requests[1].output) == digest_of(requests[0].output)
    told = [entry["step"] for entry in worker.read_attempts(str(again))]
    assert told == list(range(1, report.steps + 1))


@pytest.mark.slow
def test_a_phase_resumes_from_an_object_store(s3_lake_url: str) -> None:
    def terminate(step: int) -> None:
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = a_packed_request(s3_lake_url, output="whole")
    torn = a_packed_request(s3_lake_url, output="torn")
    work(whole, QuietProgress())
    with pytest.raises(SystemExit):
        work(torn, QuietProgress(after=terminate))
    assert work(torn, QuietProgress()).resumed_from == 4
    assert digest_of(torn.output) == digest_of(whole.output)
