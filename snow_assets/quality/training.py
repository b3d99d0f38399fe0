"""GPU job: a linear head on a frozen encoder, trained to tell exemplars from random files.

Every example is embedded once. `python -m snow_assets.quality.training JOB_FOLDER` runs a request.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from snow_assets import shards, worker
from snow_assets.documents import ANNOTATOR_VALIDATION, text_id
from snow_assets.quality import encoder as encoders
from snow_assets.quality import gate, head
from snow_assets.quality.contract import Annotator, AnnotatorReport, AnnotatorTraining
from snow_assets.quality.head import Head, Vectors
from snow_assets.quality.windows import RULE, Tokens
from snow_assets.recipe import AnnotatorRecipe

_SAY_EVERY_BATCHES = 50


@dataclass
class _Read:
    """Texts as windows, in order; `owners` says which text each window belongs to."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    windows: list[Tokens] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)

    def add(self, found: list[Tokens], row: dict[str, Any]) -> None:
        self.windows += found
        self.owners += [len(self.rows)] * len(found)
        self.rows.append(row)


def work(request: AnnotatorTraining, progress: worker.Progress) -> AnnotatorReport:
    recipe = request.recipe
    torch.use_deterministic_algorithms(True)
    encoder = encoders.load(
        recipe.encoder,
        pooling=recipe.pooling,
        window_tokens=recipe.window_tokens,
        precision=recipe.precision,
        batch_tokens=recipe.batch_tokens,
        threads=recipe.threads,
    )
    read = _read(request, encoder)
    progress.log(f"embedding {len(read.windows)} windows of {len(read.rows)} texts")
    vectors = _embed(encoder, read.windows, progress)
    trained, loss, num_iterations = _train(read, vectors, recipe)
    validation = _validation(read, vectors, trained)
    annotator = _annotator(trained, encoder, recipe, validation)
    shards.put_table(request.output, gate.VALIDATION, 0, validation, ANNOTATOR_VALIDATION)
    shards.put_file(request.output, head.FILE, trained.content())
    content = json.dumps(asdict(annotator), indent=1).encode()
    shards.put_file(request.output, gate.ANNOTATOR, content)
    num_training = sum(row["role"] == "train" for row in read.rows)
    return AnnotatorReport(
        annotator=annotator,
        num_training_examples=num_training,
        num_validation_examples=len(read.rows) - num_training,
        num_windows=len(read.windows),
        loss=loss,
        num_iterations=num_iterations,
    )


def _read(request: AnnotatorTraining, encoder: encoders.Encoder) -> _Read:
    """Examples, then the benchmark's solutions, which only validate."""
    read = _Read()
    for batch in shards.batches(request.examples, "examples"):
        rows = batch.to_pylist()
        found = encoder.windows([row.pop("text") for row in rows])
        for windows, row in zip(found, rows, strict=True):
            read.add(windows, {**row, "role": _role(row)})
    problems = shards.read(request.problems, "problems").to_pylist()
    solutions = [problem["prompt"] + problem["solution"] for problem in problems]
    found = encoder.windows(solutions)
    for windows, problem, solution in zip(found, problems, solutions, strict=True):
        role = gate.STEERED if problem["is_steered"] else gate.UNSTEERED
        known = {"text_id": text_id(solution), "language": "python", "matches": None}
        read.add(windows, {**known, "role": role})
    return read


def _role(row: dict[str, Any]) -> str:
    if row["split"] == "train":
        return "train"
    if row["is_positive"]:
        return gate.POSITIVE
    return gate.RANDOM if row["matches"] is None else gate.LENGTH_MATCHED


def _embed(encoder: encoders.Encoder, windows: list[Tokens], progress: worker.Progress) -> Vectors:
    vectors: Vectors | None = None
    for number, (places, batch) in enumerate(encoder.embed(windows)):
        if vectors is None:
            vectors = np.zeros((len(windows), batch.shape[1]), dtype=np.float32)
        vectors[places] = batch
        if number % _SAY_EVERY_BATCHES == 0:
            progress.log(f"batch {number} embedded")
    if vectors is None:
        raise ValueError("there are no examples: materialize annotator_examples again")
    return vectors


def _train(read: _Read, vectors: Vectors, recipe: AnnotatorRecipe) -> tuple[Head, float, int]:
    """Logistic regression on windows by scikit-learn, its log loss (nats) and its iterations.

    A text counts once, however many windows it has. The vectors are standardised for training,
    which is folded into the head afterwards. Memory: the training vectors twice.
    """
    # Heavy: not with the definitions, and not in a pod that scores.
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    owners = np.asarray(read.owners)
    in_training = np.asarray([row["role"] == "train" for row in read.rows])[owners]
    mean, spread = vectors[in_training].mean(0), vectors[in_training].std(0) + 1e-6
    inputs = (vectors[in_training] - mean) / spread
    texts = owners[in_training]
    labels = np.asarray([bool(read.rows[text]["is_positive"]) for text in texts])
    weights = 1 / np.bincount(owners)[texts]
    if labels.all() or not labels.any():
        raise ValueError("the training examples are of one kind only: the head needs both")
    model = LogisticRegression(C=recipe.inverse_regularization, max_iter=recipe.max_iter)
    model.fit(inputs, labels, sample_weight=weights)
    loss = log_loss(labels, model.predict_proba(inputs), sample_weight=weights)
    weight = (model.coef_[0] / spread).astype(np.float32)
    bias = (model.intercept_ - weight @ mean).astype(np.float32)
    return Head(weight=weight, bias=bias), float(loss), int(model.n_iter_[0])


def _validation(read: _Read, vectors: Vectors, trained: Head) -> pa.Table:
    logits = head.split_by_text(trained.logits(vectors), np.bincount(read.owners).tolist())
    rows: Iterable[dict[str, Any]] = (
        {**row, "logit": head.text_logit(found)}
        for row, found in zip(read.rows, logits, strict=True)
        if row["role"] != "train"
    )
    columns = ANNOTATOR_VALIDATION.names
    return pa.Table.from_pylist(
        [{name: row[name] for name in columns} for row in rows], schema=ANNOTATOR_VALIDATION
    )


def _annotator(
    trained: Head, encoder: encoders.Encoder, recipe: AnnotatorRecipe, validation: pa.Table
) -> Annotator:
    decides = {
        "encoder_digest": encoder.digest,
        "tokenizer_digest": encoder.tokenizer_digest,
        "head_digest": hashlib.sha256(trained.content()).hexdigest(),
        "window_rule": RULE,
        "window_tokens": recipe.window_tokens,
        "pooling": recipe.pooling,
        "precision": recipe.precision,
    }
    version = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return Annotator(
        version=version,
        encoder=recipe.encoder,
        gates=gate.gates(validation, recipe),
        **decides,  # type: ignore[arg-type]
    )


if __name__ == "__main__":
    worker.main(AnnotatorTraining, work)
