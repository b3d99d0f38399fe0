"""Documents of the corpus that are copies or near copies of given texts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.curation.hashing import HashSet
from snow_assets.curation.kept import kept_documents
from snow_assets.curation.shingles import band_hashes, jaccard, shingles
from snow_assets.curation.signatures import bands_in
from snow_assets.recipe import NearDuplicatesRecipe


@dataclass(frozen=True)
class NearCopy:
    text_id: str  # of the document
    split: str
    of: str  # the given text's text_id


def near_copies(
    texts: Mapping[str, str], clean_folders: Sequence[str], *, recipe: NearDuplicatesRecipe
) -> list[NearCopy]:
    """Kept documents whose shingles resemble a given text's, in train or held out.

    Candidates come from the signatures that curation kept, so that only their texts are read; real
    Jaccard similarity decides. Memory: the given texts' shingles, never the corpus.
    """
    given = {name: shingles(text, words=recipe.shingle_words) for name, text in texts.items()}
    by_band: dict[int, list[str]] = {}
    for name, found in sorted(given.items()):
        if len(found):
            bands = band_hashes(found, bands=recipe.bands, rows_per_band=recipe.rows_per_band)
            for band in set(bands.tolist()):
                by_band.setdefault(band, []).append(name)
    candidates = _candidates(by_band, clean_folders)
    for name in texts:
        candidates.setdefault(name, set()).add(name)  # of an exact copy without a single word
    copies: list[NearCopy] = []
    for name, split, text in _texts(clean_folders, sorted(candidates)):
        found = shingles(text, words=recipe.shingle_words)
        copies += [
            NearCopy(name, split, other)
            for other in sorted(candidates[name])
            if name == other or jaccard(found, given[other]) >= recipe.min_jaccard
        ]
    return copies


def _candidates(
    by_band: Mapping[int, Sequence[str]], clean_folders: Sequence[str]
) -> dict[str, set[str]]:
    """Documents' texts that share a band with given ones."""
    known = HashSet.of(by_band)
    folders = {
        signed
        for clean in clean_folders
        for near in shards.input_folders(clean, "near_duplicates")
        for signed in shards.input_folders(near, "signatures")
    }
    found: dict[str, set[str]] = {}
    for folder in sorted(folders):
        columns = ["text_id", "num_shingles", "bands"]
        for batch in shards.batches(folder, "signatures", columns=columns):
            held = pa.table(batch).filter(pc.greater(batch["num_shingles"], 0))
            bands = bands_in(held["bands"])
            flat = bands.reshape(-1)
            for place in known.indices_in(flat).tolist():
                name = held["text_id"][place // bands.shape[1]].as_py()
                found.setdefault(name, set()).update(by_band[int(flat[place])])
    return found


def _texts(clean_folders: Sequence[str], wanted: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Text id, split and text of the wanted kept documents."""
    names = pa.array(wanted, pa.string())
    for folder in clean_folders:
        for batch in kept_documents(folder, split=None, columns=("text_id", "split", "text")):
            chosen = batch.filter(pc.is_in(batch["text_id"], names))
            for row in chosen.to_pylist():
                yield row["text_id"], row["split"], row["text"]
