"""Hand-made artifacts of what pretraining reads, small but whole."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from snow_assets.curation.tokenizer.encoding import count_tokens
from snow_assets.curation.tokenizer.tokens import SPECIAL_TOKENS
from snow_assets.pretraining.contract import Optimization, PretrainingRequest
from snow_assets.pretraining.sources import LanguageSource, clean_sources, synthetic_sources
from snow_assets.recipe import ModelRecipe, PackingRecipe, PhaseRecipe, PretrainingExecution
from snow_assets.runtime import worker
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.storage import shards
from snow_assets.storage.ids import text_id
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM
from snow_assets.storage.schemas.curation import DECISION, DOCUMENT
from snow_assets.storage.schemas.quality import SELECTION
from snow_assets.storage.schemas.synthesis import SYNTHETIC_DOCUMENT

CONTEXT = 32
PACKING = PackingRecipe(
    fill_in_the_middle_rate=0.0,
    repository_tokens=False,
    file_order="random",
    shard_sequences=8,
    bucket_tokens=1_000_000,
    seed=0,
)
PHASE = PhaseRecipe(
    name="general",
    data=("clean",),
    tokens=40 * CONTEXT,
    global_batch_size=4,
    peak_learning_rate=1e-2,
    final_learning_rate=1e-3,
    schedule="cosine",
    warmup_fraction=0.2,
    python_fraction=None,
    python_shortfall="refuse",
    max_passes=4,
    checkpoint_steps=3,
)
MODEL = ModelRecipe(
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=1,
    num_key_value_heads=1,
    max_seq_len=CONTEXT,
    rope_theta=10_000.0,
)
OPTIMIZATION = Optimization(
    precision="fp32",
    beta1=0.9,
    beta2=0.95,
    weight_decay=0.1,
    max_grad_norm=1.0,
    spike_window_steps=128,
    spike_sigma=6.0,
    rollback_after_skipped_steps=3,
    max_rollbacks=1,
    seed=0,
)
EXECUTION = PretrainingExecution(
    device="cpu",
    nodes=1,
    processes_per_node=1,
    memory_gib=2,
    threads=1,
    micro_batch_size=2,
    sharding_degree=None,
    activation_checkpointing="none",
    compile=False,
    keep_every_checkpoints=None,
)


def a_text(name: str, lines: int = 6) -> str:
    """Code-like text that is different for each name, with more than ASCII in it."""
    body = "".join(
        f"    {name}_{index} = load({name!r}, {index} * 7)  # größer als ½ 漢字\n"
        for index in range(lines)
    )
    return f"def {name}():\n{body}    return {name}_0\n"


@cache
def a_tokenizer() -> Tokenizer:
    """A byte-level BPE with the special tokens, trained on a few of these texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([a_text(name) for name in ("alpha", "beta", "gamma")], trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def a_document(
    language: str, repository: str, path: str, text: str, **changes: Any
) -> dict[str, Any]:
    row: dict[str, Any] = {field.name: _zero(field.type) for field in DOCUMENT}
    row.update(
        document_id=f"{repository}/{path}",
        raw_id=text_id(text),
        source="tests",
        repository=repository,
        path=path,
        license="MIT",
        language=language,
        text=text,
        text_id=text_id(text),
        num_bytes=len(text.encode()),
    )
    return {**row, **changes}


def _zero(kind: pa.DataType) -> Any:
    if pa.types.is_boolean(kind):
        return False
    return "" if pa.types.is_string(kind) else 0


def a_corpus() -> list[dict[str, Any]]:
    """Two languages, three repositories each, four documents in each repository."""
    return [
        a_document(
            language,
            f"{language}-{repository}",
            f"{path}.x",
            a_text(f"{language}_{repository}_{path}", lines=2 + path),
        )
        for language in ("c", "python")
        for repository in ("one", "two", "three")
        for path in range(4)
    ]


def finish(folder: str, inputs: list[shards.Input] | None = None, **stats: Any) -> shards.Manifest:
    asset, partition, fingerprint = folder.rsplit("/", 3)[1:]
    return shards.finish(
        folder,
        asset=asset,
        partition=partition,
        fingerprint=fingerprint,
        code_version="1",
        recipe="TEST",
        config={},
        inputs=inputs or [],
        stats=stats,
    )


def put_tokenizer(lake_url: str) -> str:
    folder = f"{lake_url}/tokenizer/all/g"
    if not shards.is_finished(folder):
        shards.put_file(folder, "tokenizer/tokenizer.json", a_tokenizer().to_str().encode())
        settings = {"tokenizer_class": "TokenizersBackend", "eos_token": "<|endoftext|>"}
        shards.put_file(folder, "tokenizer/tokenizer_config.json", json.dumps(settings).encode())
        finish(folder)
    return folder


def put_clean_corpus(
    lake_url: str, documents: list[dict[str, Any]], held_out: frozenset[str] = frozenset()
) -> list[str]:
    """Artifacts of `documents` and, by language, of `clean_corpus`; returns the latter."""
    source = f"{lake_url}/documents/tests/g"
    languages = sorted({row["language"] for row in documents})
    clean = []
    for index, language in enumerate(languages):
        own = [row for row in documents if row["language"] == language]
        shards.put_table(source, "documents", index, own, DOCUMENT, stats={"language": language})
    made = finish(source)
    given = shards.Input(asset="documents", partition="tests", fingerprint="g", digest=made.digest)
    for index, language in enumerate(languages):
        folder = f"{lake_url}/clean_corpus/{language}/g"
        own = [row for row in documents if row["language"] == language]
        counts = count_tokens(a_tokenizer(), [row["text"] for row in own])
        rows = [
            {
                **{name: row.get(name) for name in DECISION.names},
                "kept": True,
                "split": "held_out" if row["document_id"] in held_out else "train",
                "num_tokens": count,
                "cluster_id": row["document_id"],
            }
            for row, count in zip(own, counts, strict=True)
        ]
        stats = {"documents": f"tests/g/documents-{index:05d}.parquet", "language": language}
        shards.put_table(folder, "decisions", 0, rows, DECISION, stats=stats)
        finish(folder, [given])
        clean.append(folder)
    return clean


def put_subset(
    lake_url: str, documents: list[dict[str, Any]], repeats: dict[str, int]
) -> list[str]:
    folders = []
    for language in sorted({row["language"] for row in documents}):
        folder = f"{lake_url}/high_quality_subset/{language}/g"
        rows = [
            {
                **{name: row.get(name) for name in SELECTION.names},
                "num_tokens": count_tokens(a_tokenizer(), [row["text"]])[0],
                "logit": 0.0,
                "percentile": 0.5,
                "repeats": repeats.get(row["document_id"], 0),
            }
            for row in documents
            if row["language"] == language
        ]
        shards.put_table(folder, "documents", 0, rows, SELECTION)
        finish(folder)
        folders.append(folder)
    return folders


def put_synthetic(lake_url: str, documents: list[dict[str, Any]]) -> str:
    """A synthetic set with these texts; each document's seed is named after it."""
    folder = f"{lake_url}/synthetic_set/all/g"
    rows = [
        {
            **{name: row.get(name, "x") for name in SYNTHETIC_DOCUMENT.names},
            "document_id": f"new:{row['document_id']}",
            "num_tokens": count_tokens(a_tokenizer(), [row["text"]])[0],
            "seed_document_id": row["document_id"],
            "seed_repository": row["repository"],
            "seed_license": row["license"],
        }
        for row in documents
    ]
    shards.put_table(folder, "documents", 0, rows, SYNTHETIC_DOCUMENT)
    finish(folder)
    return folder


def clean_text(lake_url: str, max_passes: int = 4) -> list[LanguageSource]:
    return clean_sources(put_clean_corpus(lake_url, a_corpus()), max_passes=max_passes)


def synthetic_corpus(lake_url: str, max_passes: int = 4) -> list[LanguageSource]:
    return synthetic_sources(put_synthetic(lake_url, a_corpus()), max_passes=max_passes)


def put_packs(
    lake_url: str,
    sources: list[LanguageSource],
    *,
    name: str = "general_packs",
    phase: PhaseRecipe = PHASE,
    packing: PackingRecipe = PACKING,
    inputs: list[shards.Input] | None = None,
    exchange: Exchange = IN_PROCESS,
) -> str:
    from snow_assets.pretraining.packs import pack

    folder = f"{lake_url}/{name}/all/g"
    stats = pack(
        sources,
        folder=folder,
        tokenizer=a_tokenizer(),
        phase=phase,
        packing=packing,
        max_seq_len=CONTEXT,
        exchange=exchange,
    )
    finish(folder, inputs, **stats)
    return folder


def a_request(
    lake_url: str, packs: str, *, output: str = "g", **changes: Any
) -> PretrainingRequest:
    request = PretrainingRequest(
        packs=packs,
        tokenizer=put_tokenizer(lake_url),
        parent=None,
        output=f"{lake_url}/general_checkpoint/all/{output}",
        model=MODEL,
        recipe=PHASE,
        optimization=OPTIMIZATION,
        execution=EXECUTION,
    )
    return replace(request, **changes)


def a_local_job(folder: Path, request: PretrainingRequest) -> Path:
    """A job folder for `python -m snow_assets.pretraining.training`."""
    from pydantic import TypeAdapter

    folder.mkdir(parents=True)
    (folder / "request.json").write_bytes(TypeAdapter(PretrainingRequest).dump_json(request))
    return folder


SOLUTION = (
    "    counts = {}\n    for word in words:\n        counts[word] = counts.get(word, 0) + 1\n"
    "    best = None\n    for word in sorted(counts):\n"
    "        if best is None or counts[word] > counts[best]:\n            best = word\n"
    "    return best, counts.get(best, 0), len(words) - counts.get(best, 0)\n"
)


def put_problems(lake_url: str) -> str:
    """One benchmark problem whose solution is SOLUTION."""
    folder = f"{lake_url}/benchmark_problems/all/g"
    prompt = 'def most_frequent(words):\n    """Return the word that comes most often."""\n'
    row = {
        "problem_id": "T/0",
        "benchmark": "HumanEval",
        "prompt": prompt,
        "solution": SOLUTION,
        "test": "def check(candidate):\n    pass\n",
        "entry_point": "most_frequent",
        "is_validation": False,
    }
    shards.put_table(folder, "problems", 0, [row], BENCHMARK_PROBLEM)
    finish(folder)
    return folder


class QuietProgress(worker.Progress):
    """Progress that keeps log lines and metrics in memory, and calls `after` with each step."""

    def __init__(self, after: object = None) -> None:
        self.steps: list[dict[str, float]] = []
        self.lines: list[str] = []
        self.after = after

    def log(self, line: str) -> None:
        self.lines.append(line)

    def metrics(self, step: int, **values: float) -> None:
        self.steps.append({"step": step, **values})
        if callable(self.after):
            self.after(step)

    def flush(self) -> None:
        """Nothing to flush."""
