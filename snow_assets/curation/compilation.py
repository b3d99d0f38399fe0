"""Compile and cache every kernel of `jit` by calling it; `make` does so once per installation.

Otherwise the first run of a user would take about 20 s longer.
"""

import tempfile
from pathlib import Path

import pyarrow as pa

from snow_assets.curation.decontamination.gate import gate_hits
from snow_assets.curation.decontamination.prefilter import find_contamination
from snow_assets.curation.dedup.near_duplicates import find_near_duplicates
from snow_assets.curation.dedup.signatures import put_signatures
from snow_assets.curation.prepare import prepare
from snow_assets.recipe import SMOKE
from snow_assets.storage import shards
from snow_assets.storage.schemas import RAW_FILE


def compile_kernels() -> None:
    """Curate two near duplicates of this file in a temporary folder."""
    text, curation = Path(__file__).read_text(), SMOKE.curation
    problem = {"problem_id": "this file", "prompt": f'"""{text[:400]}"""', "solution": text}
    with tempfile.TemporaryDirectory(prefix="snow-kernels-") as lake:
        raw_files, documents, signatures, near_duplicates, hits = (
            f"{lake}/{asset}/all/one"
            for asset in ("raw_code_corpus", "documents", "signatures", "near_duplicates", "hits")
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
        put_signatures(documents, signatures, recipe=curation.near_duplicates)
        _finish(signatures)
        find_near_duplicates(
            [documents],
            [signatures],
            near_duplicates,
            filters=curation.filters,
            recipe=curation.near_duplicates,
        )


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
