"""A corpus of short programs with exact and near duplicates, as finished `documents` artifacts."""

import hashlib

import numpy as np
import pyarrow as pa

from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DOCUMENT, SIGNALS
from tests.artifacts import finish
from tests.curation.builders import RECIPE

WORDS = 40  # of a text
_VOCABULARY = np.array([hashlib.sha256(str(n).encode()).hexdigest()[:7] for n in range(20_000)])


def texts(num_texts: int, seed: int = 0) -> list[str]:
    """A third of the texts repeats an earlier one, another third does with a word changed; texts of
    the last group differ from each other in their last word, more of them than a bucket's pairs."""
    chance = np.random.default_rng(seed)
    words = chance.integers(0, len(_VOCABULARY), (num_texts, WORDS))
    kind = chance.integers(0, 3, num_texts)
    kind[: num_texts // 10] = 0
    earlier = (chance.random(num_texts) * np.arange(num_texts)).astype(np.int64)
    for row in np.flatnonzero(kind).tolist():
        words[row] = words[earlier[row]]
    near = np.flatnonzero(kind == 1)
    words[near, chance.integers(0, WORDS, len(near))] = chance.integers(0, 20_000, len(near))
    crowd = np.arange(num_texts - num_texts // 20, num_texts)
    words[crowd, :-1] = words[crowd[0], :-1]
    return [" ".join(row) for row in _VOCABULARY[words]]


def put_documents(lake: str, num_documents: int, *, num_shards: int) -> list[str]:
    """The folders of two sources, in three languages; the filters drop a tenth of the documents."""
    all_texts = texts(num_documents)
    chance = np.random.default_rng(1)
    bounds = np.linspace(0, num_documents, num_shards + 1).astype(int).tolist()
    folders = []
    for source in ("amber", "birch"):
        folder = f"{lake}/documents/{source}/{'0' * 32}"
        folders.append(folder)
        first = 0 if source == "amber" else num_shards // 2
        for index in range(num_shards // 2):
            start, end = bounds[first + index], bounds[first + index + 1]
            rows = all_texts[start:end]
            language = ("python", "c", "sql")[index % 3]
            table = _table(source, language, rows, chance)
            stats = {"language": language}
            shards.put_table(folder, "documents", index, table, DOCUMENT, stats=stats)
        finish(folder)
    return folders


def _table(source: str, language: str, rows: list[str], chance: np.random.Generator) -> pa.Table:
    text_ids = [hashlib.sha256(text.encode()).hexdigest() for text in rows]
    document_ids = [
        hashlib.sha256(f"{source}{language}{row}{name}".encode()).hexdigest()
        for row, name in enumerate(text_ids)
    ]
    size = len(rows)
    columns = {field.name: pa.array([0] * size).cast(field.type) for field in SIGNALS}
    is_long = chance.random(size) < 0.1
    columns |= {
        "document_id": pa.array(document_ids),
        "raw_id": pa.array(text_ids),
        "source": pa.array([source] * size),
        "repository": pa.array([f"repository {name[:2]}" for name in document_ids]),
        "revision": pa.array(["1"] * size),
        "path": pa.array([f"{name[2:8]}.txt" for name in document_ids]),
        "license": pa.array(["MIT"] * size),
        "text_id": pa.array(text_ids),
        "language": pa.array([language] * size),
        "text": pa.array(rows),
        "num_bytes": pa.array([len(text) for text in rows]),
        "alphabetic_share": pa.array([1.0] * size),
        "alphanumeric_share": pa.array([1.0] * size),
        "num_lines": pa.array(np.where(is_long, RECIPE.filters.max_lines + 1, 1)),
    }
    return pa.table([columns[name] for name in DOCUMENT.names], schema=DOCUMENT)
