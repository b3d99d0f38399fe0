"""The peers' side of `bench.py`, in an environment of their own (`peers.txt`).

`python benchmarks/peers.py STAGE FOLDER OUT`, with the same Parquet in and out as `ours.py`. Each
does what its documentation shows for the job, on one process.
"""

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from peak import peak_bytes

CHECKOUT = Path(__file__).resolve().parent.parent


def read(folder: Path, name: str = "texts") -> pa.Table:
    return pa.concat_tables(
        pq.read_table(path) for path in sorted((folder / name).glob("*.parquet"))
    )


def _words() -> Any:
    """Words by a regular expression: datatrove's English tokenizer (spaCy) takes minutes."""
    import re

    from datatrove.utils.word_tokenizers import WordTokenizer

    class Words(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return re.findall(r"\w+", text)

        def sent_tokenize(self, text: str) -> list[str]:
            return text.splitlines()

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [found.span() for found in re.finditer(r"\w+", text)]

    return Words()


def _datatrove(folder: Path, out: Path, *steps: Any, name: str = "texts") -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter

    reader = ParquetReader(str(folder / name), glob_pattern="*.parquet")
    writer = ParquetWriter(str(out / "kept"), compression="zstd")
    LocalPipelineExecutor(
        pipeline=[reader, *steps, writer], tasks=1, logging_dir=str(out / "logs")
    ).run()


def filters_datatrove(folder: Path, out: Path) -> None:
    """StarCoder2's filters as a filter in plain Python, which is how datatrove takes a new one."""
    from datatrove.pipeline.filters import LambdaFilter

    sys.path.insert(0, str(CHECKOUT))
    from tests.curation.reference.signals import signals

    limits = json.loads((folder / "filters.json").read_text())

    def passes(document: Any) -> bool:
        known, language = document.metadata, document.metadata["language"]
        found = signals(document.text, path=known["path"], language=f"not {language}")
        return not (
            found["num_lines"] > limits["max_lines"]
            or found["mean_line_chars"] > limits["max_mean_line_chars"]
            or found["max_line_chars"] > limits["max_line_chars"]
            or found["is_generated"]
            or found["alphabetic_share"] < limits["min_alphabetic_fraction"]
            or found["longest_encoded_chars"] > limits["max_encoded_chars"]
            or found["encoded_share"] > limits["max_encoded_fraction"]
        )

    _datatrove(folder, out, LambdaFilter(passes))


def filters_polars(folder: Path, out: Path) -> None:
    """The filters that expressions can say: lines and letters, without runs of encoded data."""
    import polars as pl

    limits = json.loads((folder / "filters.json").read_text())
    lines = pl.col("text").str.split("\n").list.eval(pl.element().str.len_chars())
    letters = pl.col("text").str.count_matches(r"\p{L}")
    out.mkdir(parents=True)
    pl.scan_parquet(folder / "texts" / "*.parquet").filter(
        (lines.list.len() <= limits["max_lines"])
        & (lines.list.mean() <= limits["max_mean_line_chars"])
        & (lines.list.max() <= limits["max_line_chars"])
        & (letters / pl.col("text").str.len_chars() >= limits["min_alphabetic_fraction"])
    ).sink_parquet(out / "kept.parquet", compression="zstd", compression_level=1)


def exact_polars(folder: Path, out: Path) -> None:
    import polars as pl

    out.mkdir(parents=True)
    read = pl.read_parquet(folder / "texts" / "*.parquet")
    read.unique(subset="text", keep="first", maintain_order=True).write_parquet(
        out / "kept.parquet", compression="zstd", compression_level=1
    )


def near_datatrove(folder: Path, out: Path) -> None:
    """MinHash by its four steps, in 28 bands of 9: without a check, bands alone set the 0.7."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import ParquetReader

    config = MinhashConfig(n_grams=5, num_buckets=28, hashes_per_bucket=9)
    signatures, buckets, removed = (
        str(out / name) for name in ("signatures", "buckets", "removed")
    )
    reader = ParquetReader(str(folder / "texts"), glob_pattern="*.parquet")
    for tasks, pipeline in (
        (1, [reader, MinhashDedupSignature(signatures, config=config, language=_words())]),
        (28, [MinhashDedupBuckets(signatures, buckets, config=config)]),
        (1, [MinhashDedupCluster(buckets, removed, config=config)]),
    ):
        logs = str(out / f"logs-{type(pipeline[-1]).__name__}")
        LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, logging_dir=logs).run()
    _datatrove(folder, out, MinhashDedupFilter(removed))


def near_rensa(folder: Path, out: Path) -> None:
    """252 permutations over 5-grams of words in 28 bands; the first text of a bucket stays."""
    import re

    from rensa import RMinHash, RMinHashLSH

    word = re.compile(r"\w+")
    table = read(folder)
    lsh = RMinHashLSH(threshold=0.7, num_perm=252, num_bands=28)
    kept = []
    for key, text in enumerate(table["text"].to_pylist()):
        words = word.findall(text)
        made = RMinHash(num_perm=252, seed=1)
        made.update({" ".join(words[at : at + 5]) for at in range(max(1, len(words) - 4))})
        kept.append(not lsh.query(made))
        if kept[-1]:
            lsh.insert(key, made)
    out.mkdir(parents=True)
    pq.write_table(table.filter(pa.array(kept)), out / "kept.parquet", compression="zstd")


def contamination_datatrove(folder: Path, out: Path) -> None:
    from datatrove.pipeline.decont import NGramsDecontFilter
    from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontIndexer
    from datatrove.utils.text import TextNormConfig

    # With all numbers taken for one another, hundreds of tables of numbers would be quotations.
    norm = TextNormConfig(norm_numbers=False)
    config = NGramsDecontConfig(n_grams=12, find_query_ngrams=True, norm_config=norm)
    # Its own run() fetches the tasks from a hub; the index is the same.
    NGramsDecontIndexer._requires_dependencies = []
    indexer = NGramsDecontIndexer(str(out / "index"), config=config, language=_words())
    hashes: set[int] = set()
    for problem in json.loads((folder / "problems.json").read_text()):
        hashes.update(indexer.compute_hashes(problem["solution"], problem["prompt"]))
    (out / "index").mkdir(parents=True, exist_ok=True)
    found = np.array(sorted(hashes), dtype=config.hash_config.np_descr)
    found.tofile(out / "index" / "human_eval.index.hashes")
    step = NGramsDecontFilter(str(out / "index"), config=config, language=_words())
    _datatrove(folder, out, step, name="quoting")


def redaction_detect_secrets(folder: Path, out: Path) -> None:
    """detect-secrets' plugins on each line, with what it offers against false alarms off."""
    from detect_secrets.core import scan
    from detect_secrets.settings import default_settings

    out.mkdir(parents=True)
    table = read(folder, "secrets")
    redacted = []
    with default_settings():
        for text in table["text"].to_pylist():
            for line in set(text.splitlines()):
                for secret in scan.scan_line(line):
                    if secret.secret_value:
                        text = text.replace(secret.secret_value, "<KEY>")
            redacted.append(text)
    pq.write_table(table.set_column(0, "text", pa.array(redacted)), out / "kept.parquet")


def tokenize_hf(folder: Path, out: Path) -> None:
    """The tokenizers library in batches, packed with numpy."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    end = tokenizer.token_to_id("<|endoftext|>")
    packed: list[int] = []
    lines = read(folder, "some_texts")["text"].to_pylist()
    for start in range(0, len(lines), 1_000):
        batch = lines[start : start + 1_000]
        for made in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            packed += [*made.ids, end]
    out.mkdir(parents=True)
    whole = np.array(packed[: len(packed) // 8_192 * 8_192], dtype=np.uint16).reshape(-1, 8_192)
    np.save(out / "packed.npy", whole)


def scoring_sentence_transformers(folder: Path, out: Path) -> dict[str, int]:
    """Its `encode` as documented, with the model's longest window."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer((folder / "encoder").read_text(), device="cpu")
    model.max_seq_length = 512
    lines = read(folder, "windows")["text"].to_pylist()
    vectors = model.encode(lines, batch_size=32, normalize_embeddings=False)
    out.mkdir(parents=True)
    np.save(out / "vectors.npy", vectors)
    counts = model.tokenizer(lines, truncation=True, max_length=512)["input_ids"]
    return {"tokens": sum(map(len, counts))}


def scoring_transformers(folder: Path, out: Path) -> dict[str, int]:
    """A plain fp32 forward of each text alone: what scores are held against."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    name = (folder / "encoder").read_text()
    model, tokenizer = AutoModel.from_pretrained(name).eval(), AutoTokenizer.from_pretrained(name)
    vectors, sizes = [], []
    with torch.inference_mode():
        for text in read(folder, "windows")["text"].to_pylist():
            given = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")
            sizes.append(given.input_ids.shape[1])
            vectors.append(model(**given).last_hidden_state[0].mean(0).numpy())
    out.mkdir(parents=True)
    np.save(out / "vectors.npy", np.stack(vectors))
    np.save(out / "sizes.npy", sizes)
    return {"tokens": sum(sizes)}


STAGES: dict[str, Callable[[Path, Path], dict[str, Any] | None]] = {
    name: one
    for name, one in globals().items()
    if name.startswith(("filters_", "exact_", "near_", "contam", "redact", "tokenize_", "scoring_"))
}

if __name__ == "__main__":
    stage, folder, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    with contextlib.redirect_stdout(sys.stderr):
        told = STAGES[stage](folder, out) or {}
    print(json.dumps({**told, "peak_bytes": peak_bytes()}))
