import pyarrow as pa
import pytest

from snow_assets import shards
from snow_assets.curation.sampling import stable_share
from snow_assets.curation.split import assert_no_held_out, held_out_repositories
from snow_assets.documents import DECISION
from tests.curation.builders import a_file, finish


def repositories(*rows: tuple[str, str]) -> pa.Table:
    return pa.Table.from_pylist([{"repository": name, "language": lang} for name, lang in rows])


def test_about_the_asked_share_of_repositories_is_held_out() -> None:
    table = repositories(*((f"repo{n}", "python") for n in range(2_000)))
    assert 150 < len(held_out_repositories(table, share=0.1, seed=0)) < 250
    again = held_out_repositories(table.take(list(range(1_999, -1, -1))), share=0.1, seed=0)
    assert again == held_out_repositories(table, share=0.1, seed=0)
    assert again != held_out_repositories(table, share=0.1, seed=1)


def test_each_language_gives_up_a_repository_unless_it_has_only_one() -> None:
    table = repositories(("a", "python"), ("b", "python"), ("b", "c"), ("d", "c"), ("e", "sql"))
    held = held_out_repositories(table, share=1e-9, seed=0)
    assert held & {"a", "b"} and held & {"b", "d"}
    assert "e" not in held


def test_a_share_is_uniform_and_its_own_for_each_seed() -> None:
    shares = [stable_share(str(n), seed=0) for n in range(1_000)]
    assert abs(sum(shares) / 1_000 - 0.5) < 0.05 and min(shares) >= 0 and max(shares) < 1
    assert stable_share("x", seed=0) != stable_share("x", seed=1)


def corpus(lake: str) -> str:
    def row(name: str, split: str | None, cluster: str, text: str) -> dict[str, object]:
        received = a_file(f"{name}.py", name)
        return {
            **{key: value for key, value in received.items() if key in DECISION.names},
            "document_id": name, "text_id": text, "language": "python", "num_bytes": 1,
            "kept": split is not None, "reason": None if split else "near_duplicate",
            "evidence": None, "cluster_id": cluster, "split": split,
            "num_tokens": 1 if split else None,
        }  # fmt: skip

    folder = f"{lake}/clean_corpus/python/{'0' * 32}"
    rows = [
        row("trained", "train", "trained", "t1"),
        row("held", "held_out", "held", "t2"),
        row("near_copy", None, "held", "t3"),
        row("twin", None, "elsewhere", "t2"),
    ]
    shards.put_table(folder, "decisions", 0, rows, DECISION, facts={"documents": ""})
    return finish(folder)


def test_train_documents_pass_the_gate(lake_url: str) -> None:
    assert_no_held_out(["trained"], [corpus(lake_url)], text_ids=["t1", "unknown text"])


@pytest.mark.parametrize("document_id", ["held", "near_copy", "twin"])
def test_held_out_documents_and_their_copies_are_refused(lake_url: str, document_id: str) -> None:
    with pytest.raises(ValueError, match=f"document {document_id} is held out or a near copy"):
        assert_no_held_out(["trained", document_id], [corpus(lake_url)])


def test_a_held_out_text_is_refused(lake_url: str) -> None:
    with pytest.raises(ValueError, match="text t2 is held out"):
        assert_no_held_out([], [corpus(lake_url)], text_ids=["t2"])


def test_a_document_that_nobody_decided_on_is_refused(lake_url: str) -> None:
    with pytest.raises(ValueError, match="1 documents, stranger among them"):
        assert_no_held_out(["trained", "stranger"], [corpus(lake_url)])
