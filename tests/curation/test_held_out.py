"""Documents that are held out, or copies of such, are refused, in any number of partitions."""

from collections.abc import Sequence

import pyarrow as pa
import pytest

from snow_assets.curation.held_out import DOCUMENT_IDS, assert_no_held_out
from snow_assets.runtime.exchange.in_process import InProcessExchange
from snow_assets.storage import shards
from snow_assets.storage.ids import text_id
from snow_assets.storage.schemas.curation import DECISION
from tests.curation.builders import a_file, finish

CORPORA = {
    "python": [
        [("trained", "train", "trained", "t1"), ("held", "held_out", "held", "t2")],
        [("near_copy", None, "held", "t3")],
    ],
    "sql": [
        [("twin", None, "elsewhere", "t2"), ("other", "train", "other", "t4")],
        [("unclustered", None, None, "t5")],
    ],
}
"""By language and shard: name of a document, split, cluster and text."""

pytestmark = pytest.mark.parametrize("partition_bytes", [2**30, 300, 20])


def corpora(lake: str) -> list[str]:
    folders = []
    for language, language_shards in CORPORA.items():
        folder = f"{lake}/clean_corpus/{language}/{'0' * 32}"
        for index, documents in enumerate(language_shards):
            rows = [
                {
                    **{key: a_file(f"{name}.x", name).get(key) for key in DECISION.names},
                    "document_id": text_id(name),
                    "text_id": text_id(text),
                    "language": language,
                    "num_bytes": 1,
                    "kept": split is not None,
                    "reason": None if split else "near_duplicate",
                    "cluster_id": cluster and text_id(cluster),
                    "split": split,
                    "num_tokens": 1 if split else None,
                }
                for name, split, cluster, text in documents
            ]
            shards.put_table(folder, "decisions", index, rows, DECISION, stats={"documents": ""})
        folders.append(finish(folder))
    return folders


def ids_of(names: Sequence[str]) -> pa.Table:
    return pa.table([[text_id(name) for name in names]], schema=DOCUMENT_IDS)


def assert_of(names: Sequence[str], folders: Sequence[str], partition_bytes: int) -> None:
    exchange = InProcessExchange(partition_bytes=partition_bytes)
    assert_no_held_out(
        exchange.map_shards(ids_of, [names, names[:1]], schema=DOCUMENT_IDS),
        folders,
        num_documents=len(names) + 1,
        exchange=exchange,
    )


def test_train_documents_pass_the_gate(lake_url: str, partition_bytes: int) -> None:
    assert_of(["trained", "other", "unclustered"], corpora(lake_url), partition_bytes)


@pytest.mark.parametrize("name", ["held", "near_copy", "twin"])
def test_held_out_documents_and_their_copies_in_all_languages_are_refused(
    lake_url: str, name: str, partition_bytes: int
) -> None:
    message = (
        f"document {text_id(name)} is held out or a near duplicate of the held-out document "
        f"{text_id('held')}"
    )
    with pytest.raises(ValueError, match=message):
        assert_of(["trained", name, "other"], corpora(lake_url), partition_bytes)


def test_a_document_that_nobody_decided_on_is_refused(lake_url: str, partition_bytes: int) -> None:
    with pytest.raises(ValueError, match=f"1 documents, {text_id('stranger')} among them"):
        assert_of(["trained", "stranger"], corpora(lake_url), partition_bytes)
