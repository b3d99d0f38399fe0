"""Scoring on a GPU, as a share of the rate of its bf16 matrix products in the same run.

`python benchmarks/gpu_scoring.py TEXTS TOKENIZER [MODEL]`. TEXTS is a folder of Parquet with the
columns `id`, `path`, `language` and `text` (bench.py makes one, `.cache/benchmarks/bench/texts`),
TOKENIZER a BERT's tokenizer.json. The encoder has the architecture of arctic-embed-m and random
weights, and the job is the product's: documents in, scores out. With MODEL, a folder of a trained
BERT, its vectors and scores in 16 bits are held against transformers' fp32 forward.

Operations are counted for the tokens of windows, nothing for what fills a batch up.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModel, BertConfig, BertModel

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "benchmarks")]

from agreement import agreement  # noqa: E402
from ours import finish  # noqa: E402

from snow_assets.quality import encoder as encoders  # noqa: E402
from snow_assets.quality import gate, head, scoring  # noqa: E402
from snow_assets.quality.contract import Annotator, ScoringRequest  # noqa: E402
from snow_assets.quality.encoder import Encoder  # noqa: E402
from snow_assets.quality.head import Head  # noqa: E402
from snow_assets.quality.text_parts import TextParts  # noqa: E402
from snow_assets.quality.windows import Tokens  # noqa: E402
from snow_assets.recipe import ARCTIC  # noqa: E402
from snow_assets.runtime import worker  # noqa: E402
from snow_assets.storage import shards  # noqa: E402
from snow_assets.storage.ids import text_id  # noqa: E402
from snow_assets.storage.schemas.curation import DECISION, DOCUMENT  # noqa: E402

LAYERS, WIDTH, HEADS, WIDE, VOCABULARY = 12, 768, 12, 3_072, 30_522  # of arctic-embed-m
PART_TEXTS = 4_096  # of ARCTIC's 16,384, whose lake is larger than this one
RECIPE = ARCTIC.annotator
EXACT_WINDOWS = 2_048
DEVICE = "cuda"
SEED = 0


class Told(worker.Progress):
    """Progress on the screen."""

    def __init__(self) -> None:
        pass

    def log(self, line: str) -> None:
        print(" ", line, flush=True)

    def metrics(self, step: int, **values: float) -> None:
        print(f"    part {step}: {values}")


def seconds(work: Callable[[], Any]) -> float:
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def product_rate(size: int = 8_192, times: int = 20) -> float:
    """Operations per second of bf16 products of random square matrices; the median of five."""
    made = [torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(2)]
    for _ in range(3):
        made[0] @ made[1]
    taken = sorted(seconds(lambda: [made[0] @ made[1] for _ in range(times)]) for _ in range(5))
    return times * 2 * size**3 / taken[2]


def operations(lengths: np.ndarray[Any, Any]) -> float:
    """Multiplications and additions of a forward pass over windows of so many tokens."""
    products = 2 * (3 * WIDTH * WIDTH + WIDTH * WIDTH + 2 * WIDTH * WIDE)
    return float(
        LAYERS * (products * lengths.sum() + 4 * WIDTH * (lengths.astype(float) ** 2).sum())
    )


def random_encoder(folder: Path, tokenizer: Path) -> None:
    torch.manual_seed(SEED)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=WIDE,
        max_position_embeddings=512,
    )
    BertModel(config).save_pretrained(folder)
    shutil.copy(tokenizer, folder / "tokenizer.json")


def an_annotator(folder: Path, encoder: Encoder, name: str, width: int) -> None:
    """A head of random numbers whose gates are open."""
    weight = np.random.default_rng(SEED).standard_normal(width).astype(np.float32)
    made = Head(weight=weight, bias=np.zeros(1, dtype=np.float32))
    annotator = Annotator(
        version="random",
        encoder=name,
        encoder_digest=encoder.model.digest,
        tokenizer_digest=encoder.tokenizer_digest,
        head_digest="",
        window_rule="",
        window_tokens=RECIPE.window_tokens,
        pooling=RECIPE.pooling,
        runtime="torch",
        precision=RECIPE.precision,
        gates=[],
    )
    shards.put_file(str(folder), head.FILE, made.to_safetensors())
    shards.put_file(str(folder), gate.ANNOTATOR, json.dumps(asdict(annotator)).encode())


def filled(table: pa.Table, schema: pa.Schema, **known: Any) -> pa.Table:
    """The table with every other column of the schema at some value."""
    plain = {"string": "some", "int64": 1, "int32": 1, "double": 0.5, "bool": True}
    for name, value in known.items():
        table = table.append_column(name, value)
    for column in schema:
        if column.name not in table.column_names:
            value = pa.scalar(plain[str(column.type)], column.type)
            table = table.append_column(column, pa.repeat(value, len(table)))
    return table


def a_lake(lake: Path, texts: Path) -> str:
    """A clean corpus of the texts, all kept; returns its folder."""
    documents, clean = lake / "documents/bench/g", lake / "clean_corpus/bench/g"
    seen: set[str] = set()
    for number, path in enumerate(sorted(texts.glob("*.parquet"))):
        table = pq.ParquetFile(path).read().rename_columns({"id": "document_id"})
        names = [text_id(text) for text in table["text"].to_pylist()]
        is_new = [name not in seen and not seen.add(name) for name in names]  # type: ignore[func-returns-value]
        table = table.append_column("text_id", pa.array(names)).filter(pa.array(is_new))
        stats = {"language": "bench"}
        shards.put_table(
            str(documents), "documents", number, filled(table, DOCUMENT), DOCUMENT, stats=stats
        )
        split = pa.repeat(pa.scalar("train"), len(table))
        key = f"bench/g/{shards.table_name('documents', number)}"
        decided = filled(table.drop_columns(["text"]), DECISION, split=split)
        stats = {"documents": key, "counts": {"train_documents": len(table)}}
        shards.put_table(str(clean), "decisions", number, decided, DECISION, stats=stats)
    finish(documents)
    return finish(clean, documents)


def read(clean: str, encoder: Encoder) -> list[Tokens]:
    parts = TextParts.of(clean, RECIPE.part_texts)
    tables = parts.tables(range(parts.num_parts), ["text"])
    texts = [text for _, table in tables for text in table["text"].to_pylist()]
    return [window for windows in encoder.windows(texts) for window in windows]


def embedded(encoder: Encoder, windows: list[Tokens]) -> head.Vectors:
    found: head.Vectors | None = None
    for places, vectors in encoder.embed(windows):
        if found is None:
            found = np.zeros((len(windows), vectors.shape[1]), dtype=np.float32)
        found[places] = vectors
    assert found is not None
    return found


def kernels(encoder: Encoder, windows: list[Tokens]) -> Iterator[str]:
    """Where the GPU's time goes, by kind of kernel."""
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        embedded(encoder, windows)
    kinds: dict[str, float] = {}
    for event in seen.key_averages():
        name = event.key.lower()
        kind = next(
            (kind for kind, marks in _KINDS.items() if any(mark in name for mark in marks)), name
        )
        kinds[kind] = kinds.get(kind, 0.0) + event.self_device_time_total
    total = sum(kinds.values())
    for kind, spent in sorted(kinds.items(), key=lambda one: -one[1])[:12]:
        yield f"{spent / total:6.1%}  {kind[:90]}"


_KINDS = {
    "attention": ("flash", "fmha"),
    "matrix products": ("gemm", "nvjet", "cutlass", "xmma"),
    "layer norm": ("layer_norm", "layernorm"),
    "gelu": ("gelu",),
    "copies": ("memcpy",),
}


def exactness(folder: str, windows: list[Tokens], pooling: str) -> Iterator[str]:
    """Vectors and scores in 16 bits against transformers' fp32 forward of each window alone."""
    truth = plainly(folder, windows, pooling)
    sizes = np.array([len(window) for window in windows])
    for precision in ("fp16", "bf16"):
        ours = encoders.load(
            folder,
            runtime="torch",
            pooling=pooling,
            window_tokens=RECIPE.window_tokens,
            precision=precision,
            batch_tokens=RECIPE.batch_tokens,
            threads=1,
        )
        found = embedded(ours, windows)
        few = embedded(ours, windows[: len(windows) // 7])
        assert np.array_equal(few, found[: len(few)]), "a vector depends on its neighbours"
        yield f"{precision}, {agreement(found, truth, sizes)}"


def plainly(folder: str, windows: list[Tokens], pooling: str) -> head.Vectors:
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.no_padding()
    first, last = tokenizer.encode("").ids
    torch.backends.cuda.matmul.allow_tf32 = False
    plain = AutoModel.from_pretrained(folder, dtype=torch.float32).eval().to(DEVICE)
    expected = []
    with torch.inference_mode():
        for window in windows:
            ids = torch.tensor([[first, *map(int, window), last]], device=DEVICE)
            hidden = plain(input_ids=ids).last_hidden_state[0]
            expected.append((hidden[0] if pooling == "cls" else hidden.mean(0)).cpu().numpy())
    return np.stack(expected)


def main(texts: Path, tokenizer: Path, model: str | None) -> None:
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    rate = product_rate()
    print(f"bf16 products of 8,192 x 8,192: {rate / 1e12:.0f} TFLOP/s", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder, lake = Path(scratch) / "encoder", Path(scratch) / "lake"
        random_encoder(folder, tokenizer)
        clean = a_lake(lake, texts)
        numbers: dict[str, Any] = {
            "runtime": "torch",
            "pooling": RECIPE.pooling,
            "window_tokens": RECIPE.window_tokens,
            "precision": RECIPE.precision,
            "batch_tokens": RECIPE.batch_tokens,
            "threads": 1,
        }
        encoder = encoders.load(str(folder), **numbers)
        annotator = lake / "quality_annotator/all/g"
        an_annotator(annotator, encoder, str(folder), WIDTH)
        started = time.perf_counter()
        windows = read(clean, encoder)
        tokenizing = time.perf_counter() - started
        lengths = np.array([len(window) + 2 for window in windows])
        work = operations(lengths)
        print(f"{len(windows):,} windows, {lengths.sum():,} tokens, {work / 1e12:,.0f} TFLOP")
        print(f"read and tokenized alone: {lengths.sum() / tokenizing / 1e6:.2f} M tokens/s")
        embedded(encoder, windows[:2_000])
        alone = seconds(lambda: embedded(encoder, windows))
        _tell("the encoder alone", lengths.sum(), work, alone, rate)
        for line in kernels(encoder, windows[:8_000]):
            print("   ", line)
        request = ScoringRequest(
            clean=clean,
            annotator=str(annotator),
            earlier=(),
            output=str(lake / "scores/a/g"),
            part_texts=PART_TEXTS,
            batch_tokens=RECIPE.batch_tokens,
            num_threads=1,
        )
        told = Told()
        whole = seconds(lambda: scoring.work(request, told))
        _tell("the whole job, its encoder loaded and all", lengths.sum(), work, whole, rate)
        dice = np.random.default_rng(SEED)
        chosen = [windows[at] for at in dice.choice(len(windows), EXACT_WINDOWS, replace=False)]
        for line in exactness(str(folder), chosen, RECIPE.pooling):
            print("random weights in", line, flush=True)
        for line in exactness(model, chosen, "mean") if model is not None else ():
            print(f"{model} in", line, flush=True)


def _tell(what: str, tokens: int, work: float, taken: float, rate: float) -> None:
    print(
        f"{what}: {taken:.2f} s, {tokens / taken / 1e6:.2f} M tokens/s, "
        f"{work / taken / 1e12:.0f} TFLOP/s, {work / taken / rate:.1%} of the products' rate",
        flush=True,
    )


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("no GPU is here, which is what this measures")
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
