"""GPU job: train a linear head on a frozen encoder to classify exemplars against random files, or
to predict grades.

Every example is embedded once. `python -m snow_assets.quality.training JOB_FOLDER` runs a request.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
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
from snow_assets.storage.ids import text_id
from snow_assets.storage.schemas.quality import (
    ANNOTATOR_GATE,
    ANNOTATOR_VALIDATION,
    GRADED_VALIDATION,
    RANK_CORRELATION,
)

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
    validation, graded = _validation_tables(texts, embeddings, trained_head)
    annotator = _annotator(trained_head, encoder, recipe, validation, graded)
    shards.put_table(request.output, gate.VALIDATION, 0, validation, ANNOTATOR_VALIDATION)
    shards.put_table(request.output, gate.GATES, 0, gate.gate_rows(annotator), ANNOTATOR_GATE)
    if recipe.target == "grades":
        shards.put_table(request.output, gate.GRADED_VALIDATION, 0, graded, GRADED_VALIDATION)
        rows = gate.grade_gate_rows(annotator)
        shards.put_table(request.output, gate.RANK_CORRELATIONS, 0, rows, RANK_CORRELATION)
    shards.put_file(request.output, head.FILE, trained_head.to_safetensors())
    shards.put_file(request.output, gate.ANNOTATOR, gate.annotator_json(annotator))
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
    """Tokenize the examples, then graded texts where grades are the target, and the benchmarks'
    solutions, which are for validation only. Nothing is trained on that has no grade then."""
    texts = _WindowedTexts()
    recipe = request.recipe
    is_graded = recipe.target == "grades"
    tables = ["examples", *(["graded_examples"] if is_graded else [])]
    for batch in (batch for name in tables for batch in shards.batches(request.examples, name)):
        rows = [
            {"grade": recipe.positive_grade if row.get("is_positive") else None, **row}
            for row in batch.to_pylist()
        ]
        if is_graded:
            rows = [row for row in rows if row["split"] != "train" or row["grade"] is not None]
        windows_by_text = encoder.windows([row.pop("text") for row in rows])
        for windows, row in zip(windows_by_text, rows, strict=True):
            texts.add(windows, {**row, "role": _role(row)})
    rows_of_problems = shards.read(request.problems, "problems").to_pylist()
    problems = [problem for problem in rows_of_problems if problem["solution"]]
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
    if "is_positive" not in row:
        return gate.GRADED
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
    """Train a logistic regression, or a ridge regression of grades, on windows.

    Returns the head, the loss (log loss in nats; of grades mean squared error) and iterations.
    Windows are weighted so that every text counts by its own weight. Embeddings are standardised
    for training, which is folded into the head afterwards. Memory: the training embeddings twice.
    """
    owners = np.asarray(texts.owners)
    is_graded = recipe.target == "grades"
    is_train = np.asarray([row["role"] == "train" for row in texts.rows])[owners]
    if not is_train.any():
        raise ValueError(
            "no graded text is in training: add grades of texts of other repositories to the "
            "recipe's annotator.grades"
            if is_graded
            else "no example is in training: materialize annotator_examples again"
        )
    mean, std = embeddings[is_train].mean(0), embeddings[is_train].std(0) + 1e-6
    inputs = (embeddings[is_train] - mean) / std
    row_indices = owners[is_train]
    weights = np.asarray([texts.rows[index]["weight"] for index in row_indices])
    sample_weights = weights / np.bincount(owners)[row_indices]
    name = "grade" if is_graded else "is_positive"
    labels = np.asarray([texts.rows[index][name] for index in row_indices])
    if len(np.unique(labels)) < 2:
        raise ValueError(
            f"all grades of the training examples are {labels[0]:g}: the head needs texts of "
            "several grades"
            if is_graded
            else "the training examples are of one kind only: the head needs both"
        )
    fit = _fit_grades if is_graded else _fit_positives
    coefficients, intercept, loss, num_iterations = fit(inputs, labels, sample_weights, recipe)
    weight = (coefficients / std).astype(np.float32)
    bias = (intercept - weight @ mean).astype(np.float32)
    return Head(weight=weight, bias=bias), loss, num_iterations


_Fit = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float, int]
"""Coefficients, intercept (1,), loss, iterations."""


def _fit_positives(
    inputs: Vectors,
    labels: npt.NDArray[Any],
    weights: npt.NDArray[np.float64],
    recipe: AnnotatorRecipe,
) -> _Fit:
    # Slow imports, which scoring does not need.
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    model = LogisticRegression(C=recipe.inverse_regularization, max_iter=recipe.max_iter)
    model.fit(inputs, labels, sample_weight=weights)
    loss = log_loss(labels, model.predict_proba(inputs), sample_weight=weights)
    return model.coef_[0], model.intercept_, float(loss), int(model.n_iter_[0])


def _fit_grades(
    inputs: Vectors,
    grades: npt.NDArray[Any],
    weights: npt.NDArray[np.float64],
    recipe: AnnotatorRecipe,
) -> _Fit:
    from sklearn.linear_model import Ridge
    from sklearn.metrics import mean_squared_error

    model = Ridge(alpha=1 / recipe.inverse_regularization)
    model.fit(inputs.astype(np.float64), grades, sample_weight=weights)
    loss = mean_squared_error(grades, model.predict(inputs), sample_weight=weights)
    return model.coef_, np.asarray([model.intercept_]), float(loss), 1


def _validation_tables(
    texts: _WindowedTexts, embeddings: Vectors, trained_head: Head
) -> tuple[pa.Table, pa.Table]:
    """ANNOTATOR_VALIDATION and GRADED_VALIDATION."""
    logits = head.split_by_text(trained_head.logits(embeddings), np.bincount(texts.owners).tolist())
    rows = [
        {**row, "logit": head.text_logit(window_logits)}
        for row, window_logits in zip(texts.rows, logits, strict=True)
        if row["role"] != "train"
    ]
    return (
        _table([row for row in rows if row["role"] != gate.GRADED], ANNOTATOR_VALIDATION),
        _table([row for row in rows if row["role"] == gate.GRADED], GRADED_VALIDATION),
    )


def _table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    columns = [{name: row[name] for name in schema.names} for row in rows]
    return pa.Table.from_pylist(columns, schema=schema)


def _annotator(
    trained_head: Head,
    encoder: encoders.Encoder,
    recipe: AnnotatorRecipe,
    validation: pa.Table,
    graded: pa.Table,
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
        grade_gates=gate.measure_grade_gates(graded, recipe),
        **versioned_fields,  # type: ignore[arg-type]
    )


def preload() -> None:
    import sklearn.linear_model  # noqa: F401

    import snow_assets.quality.transformers_model  # noqa: F401  a CPU's encoder is converted


if __name__ == "__main__":
    worker.main(AnnotatorTrainingRequest, work)
