"""Compile and cache every kernel of `jit` by calling it; `make` does so once per installation.

Otherwise the first run of a user would take about 20 s longer.
"""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from snow_assets.curation.columns import buffers
from snow_assets.curation.decontamination.gate import gate_hits
from snow_assets.curation.decontamination.prefilter import find_contamination
from snow_assets.curation.dedup.candidates import find_candidate_pairs
from snow_assets.curation.dedup.canonical_documents import put_clusters
from snow_assets.curation.dedup.signatures import put_signatures
from snow_assets.curation.dedup.verification import verify_pairs
from snow_assets.curation.prepare import prepare
from snow_assets.curation.tokenizer.decoding_kernels import decode_documents
from snow_assets.curation.tokenizer.gigatoken_encoding import character_classes, cut_numbers
from snow_assets.recipe import SMOKE
from snow_assets.runtime.exchange.in_process import InProcessExchange
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import RAW_FILE


def compile_kernels() -> None:
    """Curate two near duplicates of this file in a temporary folder."""
    text, curation = Path(__file__).read_text(), SMOKE.curation
    problem = {"problem_id": "this file", "prompt": f'"""{text[:400]}"""', "solution": text}
    with tempfile.TemporaryDirectory(prefix="snow-kernels-") as lake:
        raw_files, documents, signatures, candidates, pairs, clusters, hits = (
            f"{lake}/{asset}/all/0"
            for asset in (
                "files",
                "documents",
                "signatures",
                "candidates",
                "pairs",
                "clusters",
                "hits",
            )
        )
        rows = [_received("one.py", text), _received("other.py", f"{text}\nother = 'é'\n")]
        shards.put_table(raw_files, "files", 0, rows, RAW_FILE)
        _finish(raw_files)
        prepare(raw_files, documents, languages=curation.languages, with_parses=False)
        _finish(documents)
        find_contamination(
            documents,
            hits,
            problems=pa.Table.from_pylist([problem]),
            recipe=curation.contamination,
        )
        window_tokens = curation.contamination.gate_window_tokens
        gate_hits(
            [("this file", text)], pa.Table.from_pylist([problem]), window_tokens=window_tokens
        )
        decode_documents(
            np.zeros(1, np.uint32),
            np.array([0, 1]),
            np.zeros(1, np.uint8),
            *buffers(pa.array([b"x"], pa.large_binary())),
            np.zeros(1, np.uint8),
            np.zeros(2, np.int64),
        )
        data, offsets = buffers(pa.array(["1x"]))
        flags = np.zeros(3, np.bool_)
        cut_numbers(data, offsets - 0, character_classes(), True, flags, flags)
        put_signatures(documents, signatures, recipe=curation.near_duplicates)
        _finish(signatures)
        exchange = InProcessExchange()
        find_candidate_pairs(
            [documents],
            [signatures],
            candidates,
            filters=curation.filters,
            recipe=curation.near_duplicates,
            exchange=exchange,
        )
        _finish(candidates)
        verify_pairs(candidates, [signatures], pairs, min_jaccard=0.1, exchange=exchange)
        _finish(pairs)
        put_clusters([documents], pairs, clusters, filters=curation.filters, exchange=exchange)


def _received(path: str, text: str) -> dict[str, object]:
    return {
        "document_id": path,
        "raw_id": path,
        "source": "here",
        "repository": "snow",
        "revision": "1",
        "path": path,
        "license": "MIT",
        "license_evidence": None,
        "content": text.encode(),
    }


def _finish(folder: str) -> None:
    *_, asset, partition, fingerprint = folder.split("/")
    shards.finish(
        folder,
        asset=asset,
        partition=partition,
        fingerprint=fingerprint,
        code_version="1",
        recipe="SMOKE",
        config={},
        inputs=[],
        stats={},
    )


if __name__ == "__main__":
    compile_kernels()
