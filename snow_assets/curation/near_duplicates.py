"""Copies and near copies among all documents that pass the rules; one of each cluster survives.

Exact copies share a `text_id`. Near copies are found by MinHash in bands (Broder 1997; Leskovec,
Rajaraman, Ullman, chapter 3), and a candidate pair counts only if the real Jaccard similarity of
its shingles says so. A cluster is what copies and verified pairs connect; which document of it
survives is said in `survivors`.

All is made from stored signatures and from the documents' other columns: no text is read, so a
new source costs its own signatures (see `signatures`) and a comparison of numbers. The result
depends on which documents there are, never on their order: it is that of a full run.

Memory: a shard and the parts of spills, wherever they are; a bit per document; 8 bytes per
document that fails the rules; about 130 bytes per text in a candidate pair, and 32 per pair.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from snow_assets import shards
from snow_assets.curation.candidates import candidate_pairs
from snow_assets.curation.document_shards import DocumentShard, beside, document_shards
from snow_assets.curation.hashing import Hashes
from snow_assets.curation.rules import COLUMNS, passes
from snow_assets.curation.signatures import bands_in
from snow_assets.curation.survivors import Reached, put_clusters
from snow_assets.curation.text_keys import TextKeys, as_ids, text_keys
from snow_assets.curation.verification import SignatureShard, Verified, verified
from snow_assets.documents import DUPLICATE_PAIR
from snow_assets.recipe import NearDuplicatesRecipe, RulesRecipe

_PAIRS_A_SHARD = 500_000


def find_near_duplicates(
    document_folders: Sequence[str],
    signature_folders: Sequence[str],
    folder: str,
    *,
    rules: RulesRecipe,
    recipe: NearDuplicatesRecipe,
) -> dict[str, Any]:
    """Write `pairs`, `clusters` and `repositories`; return the facts.

    A shard of clusters stands beside each shard of documents.
    """
    sources = document_shards(document_folders)
    reached, refused = _reached(sources, rules)
    signed = _signature_shards(sources, signature_folders)
    num_texts = sum(shards.manifest(made).num_rows("signatures") for made in signature_folders)
    candidates = candidate_pairs(
        _signatures(signed, refused), num_texts=num_texts, bands=recipe.bands
    )
    found = verified(candidates, signed, min_jaccard=recipe.min_jaccard)
    _put_pairs(folder, found)
    return {
        "candidate_pairs": len(candidates.ones),
        "verified_pairs": len(found.jaccards),
        **put_clusters(folder, reached, found),
    }


def _reached(
    sources: Sequence[DocumentShard], rules: RulesRecipe
) -> tuple[list[Reached], TextKeys]:
    """Which documents pass the rules, and the texts, rising, of which none does.

    The same text may pass as one file and fail as another: a rule asks for the language, too.
    """
    reached = []
    failing = [np.zeros(0, dtype=np.uint64)]
    for source in sources:
        documents = source.read([*COLUMNS, "text_id"])
        rows = passes(documents, source.language, rules)
        reached.append(Reached(source=source, rows=rows))
        failing.append(text_keys(documents["text_id"].filter(pa.array(~rows))))
    refused = np.unique(np.concatenate(failing))
    for shard in reached if len(refused) else []:
        passing = text_keys(shard.read(["text_id"])["text_id"])
        refused = refused[~np.isin(refused, passing)]
    return reached, refused


def _signature_shards(
    sources: Sequence[DocumentShard], signature_folders: Sequence[str]
) -> list[SignatureShard]:
    places = beside(signature_folders, "signatures")
    for source in sources:
        if source.key not in places:
            raise ValueError(
                f"no signatures stand beside {source.key}: materialize signatures again, its "
                "source has changed"
            )
    return [SignatureShard(*places[source.key]) for source in sources]


def _signatures(
    signed: Sequence[SignatureShard], refused: TextKeys
) -> Iterator[tuple[TextKeys, Hashes]]:
    """Texts that take part, and their bands, shard after shard."""
    for shard in signed:
        table = shard.read(["text_id", "num_shingles", "bands"])
        keys = text_keys(table["text_id"])
        takes_part = np.isin(keys, refused, invert=True) & (table["num_shingles"].to_numpy() > 0)
        yield keys[takes_part], bands_in(table["bands"])[takes_part]


def _put_pairs(folder: str, pairs: Verified) -> None:
    for index, start in enumerate(range(0, max(1, len(pairs.jaccards)), _PAIRS_A_SHARD)):
        here = slice(start, start + _PAIRS_A_SHARD)
        columns = [
            as_ids(pairs.ids[pairs.ones[here]]),
            as_ids(pairs.ids[pairs.others[here]]),
            pa.array(pairs.jaccards[here]),
        ]
        shards.put_table(
            folder, "pairs", index, pa.table(columns, schema=DUPLICATE_PAIR), DUPLICATE_PAIR
        )
