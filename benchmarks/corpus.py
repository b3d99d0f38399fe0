"""The pinned corpus that curation is measured on: Python and npm archives as raw files.

Run from the checkout: `python benchmarks/corpus.py [FOLDER]`. What `corpus.txt` names is downloaded
with pip and npm, checked against its sha256, and streamed by the project's own reader of archives
into a finished artifact of `raw_code_corpus`: the same bytes in every run. Some packages stand
there in two versions, each a repository of its own, so that there are near duplicates.

The licence gate is left out. That is for a measurement on this machine only; nobody trains on it.
"""

import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from snow_assets.corpus import archives, pinned_archives  # noqa: E402
from snow_assets.corpus.source_units import SourceFile  # noqa: E402
from snow_assets.recipe import ARCTIC  # noqa: E402
from snow_assets.storage import shards  # noqa: E402
from snow_assets.storage.ids import document_id  # noqa: E402
from snow_assets.storage.schemas.corpus import RAW_FILE  # noqa: E402

PINS = Path(__file__).with_name("corpus.txt")
FOLDER = CHECKOUT / ".cache" / "benchmarks"
SOURCE = "bench"
_SHARD_BYTES = 32_000_000
_MAX_FILE_BYTES = 4_000_000


def corpus(folder: Path = FOLDER) -> str:
    """The corpus's artifact, which is written if it is missing."""
    pins = PINS.read_text()
    fingerprint = hashlib.sha256(pins.encode()).hexdigest()[:32]
    artifact = f"{folder}/raw_code_corpus/{SOURCE}/{fingerprint}"
    if not shards.is_finished(artifact):
        shards.remove(artifact)
        archive_pins = pinned_archives.read_pins(PINS)
        pinned_archives.download(archive_pins, folder)
        _write(artifact, sorted(pin.path(folder) for pin in archive_pins))
    return artifact


def _write(artifact: str, paths: list[Path]) -> None:
    rows: list[dict[str, Any]] = []
    index = size = 0
    for row in _rows(paths):
        if size + len(row["content"]) > _SHARD_BYTES:
            shards.put_table(artifact, "files", index, rows, RAW_FILE)
            rows, size, index = [], 0, index + 1
        rows.append(row)
        size += len(row["content"])
    shards.put_table(artifact, "files", index, rows, RAW_FILE)
    asset, partition, fingerprint = artifact.rsplit("/", 3)[1:]
    shards.finish(
        artifact,
        asset=asset,
        partition=partition,
        fingerprint=fingerprint,
        code_version="1",
        recipe="ARCTIC",
        config={},
        inputs=[],
        stats={},
    )


def _rows(paths: list[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        repository = re.sub(r"(-[a-z0-9.]+-none-any\.whl|\.tar\.gz|\.tgz)$", "", path.name)
        for unit in archives.units(
            [str(path)],
            languages=ARCTIC.curation.languages,
            max_file_bytes=_MAX_FILE_BYTES,
            limits=ARCTIC.corpus.archives,
        ):
            for file in unit.files(lambda _repository, _path: True):
                if isinstance(file, SourceFile):
                    yield _row(repository, file)


def _row(repository: str, file: SourceFile) -> dict[str, Any]:
    raw_id = hashlib.sha256(file.content).hexdigest()
    return {
        "document_id": document_id(SOURCE, repository, file.path, raw_id),
        "raw_id": raw_id,
        "source": SOURCE,
        "repository": repository,
        "revision": file.revision,
        "path": file.path,
        "license": "NOASSERTION",
        "license_evidence": None,
        "content": file.content,
    }


if __name__ == "__main__":
    artifact = corpus(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else FOLDER)
    contents = [
        shards.read_shard(artifact, entry.name, columns=["content"])["content"]
        for entry in shards.manifest(artifact).tables("files")
    ]
    print(artifact)
    print(
        f"{sum(map(len, contents))} files, {sum(column.nbytes for column in contents) / 1e6:.0f} MB"
    )
