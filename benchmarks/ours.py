"""Our side of `bench.py`: one stage of the product on the benchmark's corpus, in a process.

`python benchmarks/ours.py STAGE FOLDER OUT`. FOLDER holds what `bench.py` prepared: the received
files, the `documents` made of them, and their texts as plain Parquet for all sides. Whatever a
stage prints as JSON on its last line, the table tells beside its figure.
"""

import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from peak import peak_bytes

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

SEQUENCE_TOKENS = 8_192


def texts(folder: Path, name: str = "texts") -> Iterator[tuple[int, pa.Table]]:
    for number, path in enumerate(sorted((folder / name).glob("*.parquet"))):
        yield number, pq.ParquetFile(path).read(use_threads=False).combine_chunks()


def put(out: Path, number: int, table: pa.Table) -> None:
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, out / f"{number:05d}.parquet", compression="zstd", compression_level=1)


def finish(folder: Path, *given: Path) -> str:
    """Write an artifact's manifest; `given` are the finished ones it was made from."""
    from snow_assets.storage import shards

    inputs = []
    for one in given:
        made = shards.manifest(str(one))
        inputs.append(
            shards.Input(
                asset=made.asset,
                partition=made.partition,
                fingerprint=made.fingerprint,
                digest=made.digest,
            )
        )
    asset, partition, fingerprint = str(folder).rsplit("/", 3)[1:]
    shards.finish(
        str(folder),
        asset=asset,
        partition=partition,
        fingerprint=fingerprint,
        code_version="1",
        recipe="ARCTIC",
        config={},
        inputs=inputs,
        stats={},
    )
    return str(folder)


def filters(folder: Path, out: Path) -> None:
    """Signals, StarCoder2's filters, and the texts that pass."""
    from snow_assets.curation.filters.heuristics import COLUMNS, passing_rows
    from snow_assets.curation.filters.signals import signals
    from snow_assets.recipe import ARCTIC

    for number, table in texts(folder):
        languages = np.array(table["language"].to_pylist())
        measured = signals(
            table["text"].chunk(0),
            paths=table["path"].chunk(0),
            languages=languages.tolist(),
            with_parses=False,
        )
        none = {name: np.zeros(len(table), dtype=np.int64) for name in COLUMNS}  # of redactions
        rows = pa.table({**none, "language": table["language"], **measured})
        kept = np.zeros(len(table), dtype=np.bool_)
        for language in np.unique(languages).tolist():
            places = np.flatnonzero(languages == language)
            kept[places] = passing_rows(
                rows.take(pa.array(places)), language, ARCTIC.curation.filters
            )
        put(out, number, table.filter(pa.array(kept)))


def exact(folder: Path, out: Path) -> None:
    """One of each text, by a hash that serves for nothing else.

    The product does not hash for this: each text has its SHA-256 already, as its name.
    """
    import xxhash

    from snow_assets.curation.columns import buffers

    seen: set[bytes] = set()
    for number, table in texts(folder):
        data, offsets = buffers(table["text"].chunk(0))
        view, kept = data.data, np.zeros(len(table), dtype=np.bool_)
        for row, (begin, end) in enumerate(itertools.pairwise(offsets.tolist())):
            name = xxhash.xxh3_128_digest(view[begin:end])
            kept[row] = name not in seen
            seen.add(name)
        # Not by pa.array, which looks for pandas first and so imports it, for 0.5 CPU seconds.
        bits = pa.py_buffer(np.packbits(kept, bitorder="little"))
        table = table.filter(pa.Array.from_buffers(pa.bool_(), len(kept), [None, bits]))
        del data, view  # so that the next shard is read into this one's memory
        put(out, number, table)


def near(folder: Path, out: Path) -> None:
    """Signatures, candidates, verified pairs, clusters; and the documents that are kept."""
    import pyarrow.compute as pc

    from snow_assets.curation.dedup.candidates import find_candidate_pairs
    from snow_assets.curation.dedup.canonical_documents import put_clusters
    from snow_assets.curation.dedup.signatures import put_signatures
    from snow_assets.curation.dedup.verification import verify_pairs
    from snow_assets.recipe import ARCTIC
    from snow_assets.runtime.exchange.chosen import open_exchange
    from snow_assets.storage import shards

    documents = str(folder / "documents" / "bench" / "g")
    put_signatures(
        documents, str(out / "signatures" / "bench" / "g"), recipe=ARCTIC.curation.near_duplicates
    )
    signed = finish(out / "signatures" / "bench" / "g")
    candidates, pairs, copies = (
        out / asset / "all" / "g"
        for asset in ("candidate_pairs", "verified_pairs", "near_duplicates")
    )
    filters, recipe = ARCTIC.curation.filters, ARCTIC.curation.near_duplicates
    with open_exchange() as exchange:
        find_candidate_pairs(
            [documents],
            [signed],
            str(candidates),
            filters=filters,
            recipe=recipe,
            exchange=exchange,
        )
        finish(candidates)
        verify_pairs(
            str(candidates),
            [signed],
            str(pairs),
            min_jaccard=recipe.min_jaccard,
            exchange=exchange,
        )
        finish(pairs)
        put_clusters([documents], str(pairs), str(copies), filters=filters, exchange=exchange)
    finish(copies)
    manifest = shards.manifest(str(copies))
    for number, entry in enumerate(manifest.tables("clusters")):
        name = entry.stats["documents"].rsplit("/", 1)[1]
        clusters = shards.read_shard(
            str(copies), entry.name, columns=["document_id", "is_canonical"]
        )
        surviving = clusters.filter(clusters["is_canonical"])["document_id"]
        found = shards.read_shard(documents, name, columns=["document_id", "text"])
        put(out / "kept", number, found.filter(pc.is_in(found["document_id"], surviving)))


def contamination(folder: Path, out: Path) -> None:
    """Documents that quote a HumanEval problem, by 12-gram or substring."""
    from snow_assets.corpus.problems import read_problems
    from snow_assets.curation.decontamination.prefilter import find_contamination
    from snow_assets.recipe import ARCTIC
    from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM

    given = folder / "quoting_documents" / "bench" / "g"
    if not given.exists():  # among the other steps: what they made
        given = folder / "documents" / "bench" / "g"
    problems = pa.Table.from_pylist(read_problems(["HumanEval"]), schema=BENCHMARK_PROBLEM)
    find_contamination(
        str(given),
        str(out / "contamination" / "bench" / "g"),
        problems=problems,
        recipe=ARCTIC.curation.contamination,
    )


def redaction(folder: Path, out: Path) -> None:
    """Secrets and e-mail addresses by placeholders."""
    from snow_assets.curation.redaction.redact import redact_column

    for number, table in texts(folder, "secrets"):
        redacted = redact_column(table["text"].chunk(0))
        put(out, number, table.set_column(table.column_names.index("text"), "text", redacted.texts))


def documents(folder: Path, out: Path) -> None:
    """Received files in; documents with signals and redacted text out."""
    from snow_assets.curation.prepare import prepare
    from snow_assets.recipe import ARCTIC

    raw, made = (folder / "raw").read_text(), out / "documents" / "bench" / "g"
    prepare(raw, str(made), languages=ARCTIC.curation.languages, with_parses=False)
    finish(made)


def curation(folder: Path, out: Path) -> None:
    """Received files in; documents, near duplicates and contamination out: all but tokens."""
    documents(folder, out)
    near(out, out)
    contamination(out, out)


def tokenize(folder: Path, out: Path) -> None:
    """Texts to tokens by the project's tokenizer, packed into sequences of 8,192."""
    from dataclasses import replace

    import pyarrow.compute as pc
    from tokenizers import Tokenizer

    from snow_assets.pretraining.packs import pack
    from snow_assets.pretraining.sources import LanguageSource
    from snow_assets.recipe import ARCTIC

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tables = [table for _, table in texts(folder, "some_texts")]
    num_documents = sum(map(len, tables))
    total = num_documents + sum(pc.sum(table["num_tokens"]).as_py() for table in tables)

    def documents(columns: Sequence[str], *, table: pa.Table) -> pa.Table:
        renamed = {
            "document_id": table["id"],
            "text_id": table["id"],
            "repository": table["id"],
            "license": table["language"],
        }
        arrays = [renamed[name] if name in renamed else table[name] for name in columns]
        made = pa.table(arrays, names=list(columns))
        return made.append_column("passes", pa.array([1] * len(made), pa.int32()))

    source = LanguageSource(
        language="python",
        num_documents=num_documents,
        unique_tokens=total,
        pass_tokens=[total],
        shards=[partial(documents, table=table) for table in tables],
    )
    sequences = total // SEQUENCE_TOKENS
    phase = replace(
        ARCTIC.pretraining.phase("general"),
        tokens=sequences * SEQUENCE_TOKENS,
        python_fraction=None,
        max_passes=1,
    )
    plain = replace(
        ARCTIC.pretraining.packing, fill_in_the_middle_rate=0.0, repository_tokens=False
    )
    pack(
        [source],
        folder=str(out / "general_packs" / "all" / "g"),
        tokenizer=tokenizer,
        phase=phase,
        packing=plain,
        max_seq_len=SEQUENCE_TOKENS,
    )


def scoring(folder: Path, out: Path) -> dict[str, int]:
    """MiniLM's vectors of windows of up to 512 tokens.

    The encoder is converted in the run that does not count, as it is once for an annotator.
    """
    from snow_assets.quality import encoder as encoders
    from snow_assets.quality.openvino_model import TOKENIZER, convert

    artifact = folder / "openvino"
    if not (artifact / TOKENIZER).exists():
        convert(Path((folder / "encoder").read_text()), str(artifact), window_tokens=512)
    encoder = encoders.load(
        str(artifact),
        runtime="openvino",
        pooling="mean",
        window_tokens=512,
        precision="auto",
        batch_tokens=512,
        threads=2,
    )
    (_, table), *_ = texts(folder, "windows")
    read = [windows[0] for windows in encoder.windows(table["text"].to_pylist())]
    vectors = np.zeros((len(read), 384), dtype=np.float32)
    for places, found in encoder.embed(read):
        vectors[places] = found
    out.mkdir(parents=True)
    np.save(out / "vectors.npy", vectors)
    return {"tokens": sum(len(window) + 2 for window in read)}


STAGES: dict[str, Callable[[Path, Path], dict[str, Any] | None]] = {
    one.__name__: one
    for one in (
        documents,
        filters,
        exact,
        near,
        contamination,
        redaction,
        curation,
        tokenize,
        scoring,
    )
}

if __name__ == "__main__":
    stage, folder, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    told = STAGES[stage](folder, out) or {}
    print(json.dumps({**told, "peak_bytes": peak_bytes()}))
