"""Which repositories are held out from training, and the proof that nothing of them is trained on.

A repository is held out as a whole, in all languages, by a hash of its name; a language that this
leaves without one gives up another. Of a near-duplicate cluster only the survivor is kept at all,
so no kept document of one side has a near copy on the other.
"""

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.curation.sampling import stable_share

TRAIN, HELD_OUT = "train", "held_out"


def held_out_repositories(repositories: pa.Table, *, share: float, seed: int) -> frozenset[str]:
    """The held-out ones of a `repositories` table (repository, language, num_survivors).

    A repository whose hash lies below `share` is held out. Then each language in name order, if
    it has two repositories or more and none is held out, gives up its repository with the lowest
    hash; a language with a single repository is trained on and has no held-out documents.
    """
    by_language: dict[str, set[str]] = {}
    for row in repositories.select(["language", "repository"]).to_pylist():
        by_language.setdefault(row["language"], set()).add(row["repository"])
    hashes = {
        name: stable_share(name, seed=seed) for names in by_language.values() for name in names
    }
    held_out = {name for name, hashed in hashes.items() if hashed < share}
    for _, names in sorted(by_language.items()):
        if len(names) > 1 and not names & held_out:
            held_out.add(min(names, key=lambda name: (hashes[name], name)))
    return frozenset(held_out)


def assert_no_held_out(
    document_ids: Iterable[str],
    clean_folders: Sequence[str],
    *,
    text_ids: Iterable[str] = (),
) -> None:
    """Refuse documents that are held out, or share a text or a near-duplicate cluster with one.

    For packs, seeds and annotator examples. `text_ids` are for tables that name texts only. A
    document that no `clean_corpus` generation decided on is refused too: nothing is known of it.
    Memory: the ids given, those of held-out documents, and a shard of decisions.
    """
    texts, clusters, names = _held_out(clean_folders)
    unknown = set(document_ids)
    for text_id in text_ids:
        if text_id in texts:
            raise ValueError(
                f"text {text_id} is held out as document {texts[text_id]}: leave it out"
            )
    columns = ["document_id", "text_id", "cluster_id"]
    for folder in clean_folders:
        for batch in shards.batches(folder, "decisions", columns=columns, rows=4096):
            for row in batch.filter(
                pc.is_in(batch["document_id"], pa.array(list(unknown), pa.string()))
            ).to_pylist():
                document_id = row["document_id"]
                unknown.discard(document_id)
                held = texts.get(row["text_id"]) or clusters.get(row["cluster_id"])
                if document_id in names or held:
                    raise ValueError(
                        f"document {document_id} is held out or a near copy of the held-out "
                        f"document {held or document_id}: leave it out"
                    )
    if unknown:
        raise ValueError(
            f"{len(unknown)} documents, {min(unknown)} among them, are in none of the clean "
            f"corpora {list(clean_folders)}: name the generations that they come from"
        )


def _held_out(
    clean_folders: Sequence[str],
) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Text and cluster -> held-out document; and the held-out documents."""
    texts: dict[str, str] = {}
    clusters: dict[str, str] = {}
    columns = ["document_id", "text_id", "cluster_id", "split"]
    for folder in clean_folders:
        for batch in shards.batches(folder, "decisions", columns=columns, rows=4096):
            for row in batch.filter(
                pc.fill_null(pc.equal(batch["split"], HELD_OUT), False)
            ).to_pylist():
                texts[row["text_id"]] = row["document_id"]
                if row["cluster_id"] is not None:
                    clusters[row["cluster_id"]] = row["document_id"]
    return texts, clusters, set(texts.values())
