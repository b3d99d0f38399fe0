"""Find exact and near duplicates of query texts in the corpus."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.curation.dedup.shingles import band_hashes, jaccard, shingles
from snow_assets.curation.dedup.signatures import bands_in, signature_folders
from snow_assets.curation.hashing import HashSet
from snow_assets.curation.kept import kept_documents
from snow_assets.recipe import NearDuplicatesRecipe
from snow_assets.storage import shards


@dataclass(frozen=True)
class NearDuplicate:
    text_id: str  # of the document
    split: str
    query_text_id: str


def find_near_duplicates(
    texts: Mapping[str, str], clean_folders: Sequence[str], *, recipe: NearDuplicatesRecipe
) -> list[NearDuplicate]:
    """Kept documents, train or held out, that are near duplicates of a query text.

    Candidate pairs share a band of curation's signatures, so that only candidates' texts are read;
    they are verified by Jaccard similarity. Memory: the query texts' shingles.
    """
    query_shingles = {
        name: shingles(text, words=recipe.shingle_words) for name, text in texts.items()
    }
    by_band: dict[int, list[str]] = {}
    for name, text_shingles in sorted(query_shingles.items()):
        if len(text_shingles):
            bands = band_hashes(
                text_shingles, bands=recipe.bands, rows_per_band=recipe.rows_per_band
            )
            for band_hash in set(bands.tolist()):
                by_band.setdefault(band_hash, []).append(name)
    candidates = _candidate_pairs(by_band, clean_folders)
    for name in texts:
        candidates.setdefault(name, set()).add(name)  # exact duplicates without a word
    near_duplicates: list[NearDuplicate] = []
    for name, split, text in _kept_texts(clean_folders, sorted(candidates)):
        document_shingles = shingles(text, words=recipe.shingle_words)
        near_duplicates += [
            NearDuplicate(name, split, query)
            for query in sorted(candidates[name])
            if name == query
            or jaccard(document_shingles, query_shingles[query]) >= recipe.min_jaccard
        ]
    return near_duplicates


def _candidate_pairs(
    by_band: Mapping[int, Sequence[str]], clean_folders: Sequence[str]
) -> dict[str, set[str]]:
    """Text ids of documents -> the query texts that share a band with them."""
    band_set = HashSet.of(by_band)
    folders = {
        signatures
        for clean in clean_folders
        for near_duplicates in shards.input_folders(clean, "near_duplicates")
        for signatures in signature_folders(near_duplicates)
    }
    candidates: dict[str, set[str]] = {}
    for folder in sorted(folders):
        columns = ["text_id", "num_shingles", "bands"]
        for batch in shards.batches(folder, "signatures", columns=columns):
            nonempty = pa.table(batch).filter(pc.greater(batch["num_shingles"], 0))
            bands = bands_in(nonempty["bands"])
            flat = bands.reshape(-1)
            for index in band_set.indices_in(flat).tolist():
                name = nonempty["text_id"][index // bands.shape[1]].as_py()
                candidates.setdefault(name, set()).update(by_band[int(flat[index])])
    return candidates


def _kept_texts(
    clean_folders: Sequence[str], text_ids: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    """Yield text id, split and text of kept documents with these text ids."""
    matching = pl.Series("text_id", text_ids, pl.String).to_frame()
    columns = ("text_id", "split", "text")
    for folder in clean_folders:
        for batch in kept_documents(folder, split=None, columns=columns, matching=matching):
            for row in batch.to_pylist():
                yield row["text_id"], row["split"], row["text"]
