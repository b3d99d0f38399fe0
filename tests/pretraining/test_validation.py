"""Bits per byte of held-out documents while a phase trains: right, and without effect on it."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from snow_assets.curation.tokenizer.tokens import END_OF_TEXT
from snow_assets.pretraining import phase
from snow_assets.pretraining.model import read_model
from snow_assets.pretraining.sources import clean_sources
from snow_assets.pretraining.training import work
from snow_assets.runtime import worker
from snow_assets.storage import shards
from tests.pretraining.builders import (
    CONTEXT,
    EXECUTION,
    PHASE,
    QuietProgress,
    a_corpus,
    a_local_job,
    a_request,
    a_tokenizer,
    put_clean_corpus,
    put_packs,
)
from tests.pretraining.test_sharded_training import run

HELD_OUT = frozenset(
    f"{language}-three/{path}.x" for language in ("c", "python") for path in range(3)
)
VALIDATING = replace(EXECUTION, validation_steps=4)
NUM_STEPS = PHASE.tokens // CONTEXT // PHASE.global_batch_size


def bits_per_byte(folder: Path, texts: list[str]) -> float:
    """Of the beginnings that fit the context, by transformers' model."""
    model, tokenizer = read_model(folder), a_tokenizer()
    nats, num_bytes = 0.0, 0
    for text in texts:
        tokens = tokenizer.encode(text).ids[: CONTEXT - 1]
        input_ids = torch.tensor([[tokenizer.token_to_id(END_OF_TEXT), *tokens]])
        with torch.no_grad():
            logits = model(input_ids).logits[0, :-1]
        nats += float(F.cross_entropy(logits, input_ids[0, 1:], reduction="sum"))
        num_bytes += len(tokenizer.decode(tokens).encode())
    return nats / math.log(2) / num_bytes


def packs_with_held_out_documents(lake_url: str) -> str:
    clean = put_clean_corpus(lake_url, a_corpus(), HELD_OUT)
    inputs = [
        shards.Input(
            asset="clean_corpus",
            partition=folder.rsplit("/", 2)[1],
            fingerprint="g",
            digest=shards.manifest(folder).digest,
        )
        for folder in clean
    ]
    return put_packs(lake_url, clean_sources(clean, max_passes=4), inputs=inputs)


def test_held_out_documents_are_measured_and_the_weights_stay_the_same(
    lake_url: str, tmp_path: Path
) -> None:
    documents, packs = a_corpus(), packs_with_held_out_documents(lake_url)
    with_validation, without = (
        a_request(lake_url, packs, output=output, execution=execution)
        for output, execution in (("with", VALIDATING), ("without", EXECUTION))
    )
    progress, quiet = QuietProgress(), QuietProgress()
    work(with_validation, progress)
    work(without, quiet)
    digests = {
        shards.content_digest(shards.records(request.output))
        for request in (with_validation, without)
    }
    assert len(digests) == 1
    for language in ("c", "python"):
        name = f"validation_bits_per_byte/{language}"
        curve = {step["step"]: step[name] for step in progress.steps if name in step}
        assert set(curve) == {*range(4, NUM_STEPS + 1, 4), NUM_STEPS}
        assert curve[NUM_STEPS] < curve[4]
        texts = [
            row["text"]
            for row in documents
            if row["document_id"] in HELD_OUT and row["language"] == language
        ]
        model = shards.fetch_folder(with_validation.output, tmp_path / language, prefix="model")
        assert abs(curve[NUM_STEPS] - bits_per_byte(model, texts)) < 1e-4
        assert not any(name in step for step in quiet.steps)


def test_the_time_of_a_validation_is_no_part_of_a_steps_time(
    lake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = itertools.count()  # a second for each reading of the clock

    def hang(*_: object, **__: object) -> dict[str, float]:
        for _second in range(10_000):
            next(times)
        return {"c": 1.0}

    monkeypatch.setattr(phase, "time", SimpleNamespace(monotonic=lambda: float(next(times))))
    monkeypatch.setattr(phase, "bits_per_byte", hang)
    progress = QuietProgress()
    work(
        a_request(lake_url, packs_with_held_out_documents(lake_url), execution=VALIDATING), progress
    )
    seconds = [
        step["validation_seconds"] for step in progress.steps if "validation_seconds" in step
    ]
    assert len(seconds) == 3
    assert min(seconds) > 10_000
    assert max(step["step_seconds"] for step in progress.steps[1:]) < 100


@pytest.mark.slow
def test_two_processes_measure_what_one_does(lake_url: str, tmp_path: Path) -> None:
    packs, alone = packs_with_held_out_documents(lake_url), QuietProgress()
    work(a_request(lake_url, packs, output="one", execution=VALIDATING), alone)
    two = replace(VALIDATING, processes_per_node=2)
    job = a_local_job(
        tmp_path / "job" / "attempt-001",
        a_request(lake_url, packs, output="two", execution=two),
    )
    run(job, processes=2)
    measured = {entry["step"]: entry for entry in worker.read_attempts(str(job))}
    for language in ("c", "python"):
        name = f"validation_bits_per_byte/{language}"
        curve = {step["step"]: step[name] for step in alone.steps if name in step}
        assert len(curve) == 3
        for step, bits in curve.items():
            assert measured[step][name] == pytest.approx(bits, abs=1e-4)
