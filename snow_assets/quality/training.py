"""GPU job: train a linear head on a frozen encoder to classify exemplars against random files.

Every example is embedded once. `python -m snow_assets.quality.training JOB_FOLDER` runs a request.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from snow_assets.corpus.benchmarks import benchmark_named
from snow_assets.quality import encoder as encoders
from snow_assets.quality import gate, head
from snow_assets.quality.contract import (
    Annotator,
    AnnotatorReport,
    AnnotatorTrainingRequest,
    Runtime,
)
from snow_assets.quality.head import Head, Vectors
from snow_assets.quality.openvino_model import convert
from snow_assets.quality.windows import RULE, Tokens
from snow_assets.recipe import AnnotatorRecipe
from snow_assets.runtime import worker
from snow_assets.storage import shards
from snow_assets.storage.schemas import ANNOTATOR_GATE, ANNOTATOR_VALIDATION, text_id

_LOG_EVERY_BATCHES = 50


@dataclass
class _WindowedTexts:
    """Rows and windows of texts; `owners[i]` is the row index of window i."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    windows: list[Tokens] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)

    def add(self, text_windows: list[Tokens], row: dict[str, Any]) -> None:
        self.windows += text_windows
        self.owners += [len(self.rows)] * len(text_windows)
        self.rows.append(row)


def work(request: AnnotatorTrainingRequest, progress: worker.Progress) -> AnnotatorReport:
    recipe = request.recipe
    encoder = _load_encoder(recipe, request.output)
    texts = _tokenize_texts(request, encoder)
    progress.log(f"embedding {len(texts.windows)} windows of {len(texts.rows)} texts")
    embeddings = _embed(encoder, texts.windows, progress)
    if recipe.labels == "shuffled":
        _shuffle_labels(texts.rows, seed=recipe.seed)
    trained_head, loss, num_iterations = _train_head(texts, embeddings, recipe)
    validation = _validation_table(texts, embeddings, trained_head)
    annotator = _annotator(trained_head, encoder, recipe, validation)
    shards.put_table(request.output, gate.VALIDATION, 0, validation, ANNOTATOR_VALIDATION)
    shards.put_table(request.output, gate.GATES, 0, gate.gate_rows(annotator), ANNOTATOR_GATE)
    shards.put_file(request.output, head.FILE, trained_head.to_safetensors())
    content = json.dumps(asdict(annotator), indent=1).encode()
    shards.put_file(request.output, gate.ANNOTATOR, content)
    num_training = sum(row["role"] == "train" for row in texts.rows)
    return AnnotatorReport(
        annotator=annotator,
        num_training_examples=num_training,
        num_validation_examples=len(texts.rows) - num_training,
        num_windows=len(texts.windows),
        loss=loss,
        num_iterations=num_iterations,
    )


def _load_encoder(recipe: AnnotatorRecipe, output: str) -> encoders.Encoder:
    """The recipe's encoder, which on a CPU is first converted into the artifact `output`."""
    located = encoders.locate_encoder(recipe.encoder)
    runtime: Runtime = "torch" if recipe.gpus else "openvino"
    if runtime == "openvino":
        convert(located, output, window_tokens=recipe.window_tokens)
    return encoders.load(
        output if runtime == "openvino" else str(located),
        runtime=runtime,
        pooling=recipe.pooling,
        window_tokens=recipe.window_tokens,
        precision=recipe.precision,
        batch_tokens=recipe.batch_tokens,
        threads=recipe.threads,
    )


def _tokenize_texts(request: AnnotatorTrainingRequest, encoder: encoders.Encoder) -> _WindowedTexts:
    """Tokenize the examples, then the benchmarks' solutions, which are for validation only."""
    texts = _WindowedTexts()
    for batch in shards.batches(request.examples, "examples"):
        rows = batch.to_pylist()
        windows_by_text = encoder.windows([row.pop("text") for row in rows])
        for windows, row in zip(windows_by_text, rows, strict=True):
            texts.add(windows, {**row, "role": _role(row)})
    problems = shards.read(request.problems, "problems").to_pylist()
    solutions = [problem["prompt"] + problem["solution"] for problem in problems]
    windows_by_text = encoder.windows(solutions)
    for windows, problem, solution in zip(windows_by_text, problems, solutions, strict=True):
        role = gate.VALIDATION_SOLUTION if problem["is_validation"] else gate.TEST_SOLUTION
        language = benchmark_named(problem["benchmark"]).language
        solution_row = {"text_id": text_id(solution), "language": language, "matches": None}
        texts.add(windows, {**solution_row, "role": role})
    return texts


def _shuffle_labels(rows: list[dict[str, Any]], *, seed: int) -> None:
    """Permute labels and weights of the training examples; validation keeps its own."""
    train = [row for row in rows if row["role"] == "train"]
    order = np.random.default_rng(seed).permutation(len(train))
    shuffled = [(train[index]["is_positive"], train[index]["weight"]) for index in order]
    for row, (is_positive, weight) in zip(train, shuffled, strict=True):
        row["is_positive"], row["weight"] = is_positive, weight


def _role(row: dict[str, Any]) -> str:
    if row["split"] == "train":
        return "train"
    if row["is_positive"]:
        return gate.POSITIVE
    return gate.RANDOM if row["matches"] is None else gate.LENGTH_MATCHED


def _embed(encoder: encoders.Encoder, windows: list[Tokens], progress: worker.Progress) -> Vectors:
    embeddings: Vectors | None = None
    for batch_index, (indices, batch_embeddings) in enumerate(encoder.embed(windows)):
        if embeddings is None:
            embeddings = np.zeros((len(windows), batch_embeddings.shape[1]), dtype=np.float32)
        embeddings[indices] = batch_embeddings
        if batch_index % _LOG_EVERY_BATCHES == 0:
            progress.log(f"batch {batch_index} embedded")
    if embeddings is None:
        raise ValueError("there are no examples: materialize annotator_examples again")
    return embeddings


def _train_head(
    texts: _WindowedTexts, embeddings: Vectors, recipe: AnnotatorRecipe
) -> tuple[Head, float, int]:
    """Train a logistic regression on windows; return the head, log loss (nats) and iterations.

    Windows are weighted so that every text counts by its own weight. Embeddings are standardised
    for training, which is folded into the head afterwards. Memory: the training embeddings twice.
    """
    # Slow imports, which scoring does not need.
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    owners = np.asarray(texts.owners)
    is_train = np.asarray([row["role"] == "train" for row in texts.rows])[owners]
    mean, std = embeddings[is_train].mean(0), embeddings[is_train].std(0) + 1e-6
    inputs = (embeddings[is_train] - mean) / std
    row_indices = owners[is_train]
    labels = np.asarray([bool(texts.rows[index]["is_positive"]) for index in row_indices])
    weights = np.asarray([texts.rows[index]["weight"] for index in row_indices])
    sample_weights = weights / np.bincount(owners)[row_indices]
    if labels.all() or not labels.any():
        raise ValueError("the training examples are of one kind only: the head needs both")
    model = LogisticRegression(C=recipe.inverse_regularization, max_iter=recipe.max_iter)
    model.fit(inputs, labels, sample_weight=sample_weights)
    loss = log_loss(labels, model.predict_proba(inputs), sample_weight=sample_weights)
    weight = (model.coef_[0] / std).astype(np.float32)
    bias = (model.intercept_ - weight @ mean).astype(np.float32)
    return Head(weight=weight, bias=bias), float(loss), int(model.n_iter_[0])


def _validation_table(texts: _WindowedTexts, embeddings: Vectors, trained_head: Head) -> pa.Table:
    logits = head.split_by_text(trained_head.logits(embeddings), np.bincount(texts.owners).tolist())
    rows: Iterable[dict[str, Any]] = (
        {**row, "logit": head.text_logit(window_logits)}
        for row, window_logits in zip(texts.rows, logits, strict=True)
        if row["role"] != "train"
    )
    columns = ANNOTATOR_VALIDATION.names
    return pa.Table.from_pylist(
        [{name: row[name] for name in columns} for row in rows], schema=ANNOTATOR_VALIDATION
    )


def _annotator(
    trained_head: Head, encoder: encoders.Encoder, recipe: AnnotatorRecipe, validation: pa.Table
) -> Annotator:
    versioned_fields = {
        "encoder_digest": encoder.model.digest,
        "tokenizer_digest": encoder.tokenizer_digest,
        "head_digest": hashlib.sha256(trained_head.to_safetensors()).hexdigest(),
        "window_rule": RULE,
        "window_tokens": recipe.window_tokens,
        "pooling": recipe.pooling,
        "runtime": "torch" if recipe.gpus else "openvino",
        "precision": encoder.model.precision,
    }
    version = hashlib.sha256(json.dumps(versioned_fields, sort_keys=True).encode()).hexdigest()
    return Annotator(
        version=version,
        encoder=recipe.encoder,
        gates=gate.measure_gates(validation, recipe),
        **versioned_fields,  # type: ignore[arg-type]
    )


def preload() -> None:
    import sklearn.linear_model  # noqa: F401

    import snow_assets.quality.transformers_model  # noqa: F401  a CPU's encoder is converted


if __name__ == "__main__":
    worker.main(AnnotatorTrainingRequest, work)
