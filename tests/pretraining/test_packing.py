"""Packs: an exact budget of single-language sequences, every token accounted for."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from snow_assets.curation.tokenizer import encoding
from snow_assets.curation.tokenizer.tokens import END_OF_TEXT
from snow_assets.pretraining import packing
from snow_assets.pretraining.decoding import decode_packed
from snow_assets.pretraining.packs import validate_packs
from snow_assets.pretraining.sequences import TOKENS, passes_by_language, read_tokens
from snow_assets.pretraining.sources import ReadShard, clean_sources
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import InProcessExchange
from snow_assets.storage import shards
from tests.pretraining.builders import (
    CONTEXT,
    PACKING,
    PHASE,
    a_corpus,
    a_document,
    a_text,
    a_tokenizer,
    clean_text,
    finish,
    put_clean_corpus,
    put_packs,
)

TEXTS = {row["document_id"]: row["text"] for row in a_corpus()}


def stream(packs: str) -> tuple[list[int], list[dict[str, Any]]]:
    """All tokens in a row, and all spans."""
    tokens = [read_tokens(packs, entry).ravel() for entry in shards.manifest(packs).tables(TOKENS)]
    return np.concatenate(tokens).tolist(), shards.read(packs, "spans").to_pylist()


def forms(packs: str) -> dict[tuple[str, int], list[int]]:
    """(document, pass) -> what of its packed form is there."""
    tokens, spans = stream(packs)
    found: dict[tuple[str, int], list[int]] = {}
    place = 0
    for span in spans:
        form = found.setdefault((span["document_id"], span["pass_index"]), [])
        assert span["document_offset"] == len(form)
        form += tokens[place : place + span["length"]]
        place += span["length"]
    return found


def recounted(read_shard: ReadShard, columns: Sequence[str], *, factor: int) -> pa.Table:
    """The shard with counts that are too high."""
    table = read_shard(columns)
    index = table.schema.get_field_index("num_tokens")
    if index < 0:
        return table
    return table.set_column(index, "num_tokens", pc.multiply(table["num_tokens"], factor))


class ManyPartitions(InProcessExchange):
    """As many partitions as on a cluster of seven cores."""

    def num_partitions(self, num_bytes: int) -> int:
        return 7


def test_packs_hold_exactly_the_budget_and_spans_account_for_every_token(lake_url: str) -> None:
    packs = put_packs(lake_url, clean_text(lake_url))
    assert validate_packs(packs, tokens=PHASE.tokens, max_seq_len=CONTEXT) == []
    tokens, spans = stream(packs)
    assert len(tokens) == PHASE.tokens == sum(span["length"] for span in spans)
    covered = Counter(span["sequence"] for span in spans for _ in range(span["length"]))
    assert covered == dict.fromkeys(range(PHASE.tokens // CONTEXT), CONTEXT)


def test_a_gap_between_spans_is_a_flaw(lake_url: str) -> None:
    packs = put_packs(lake_url, clean_text(lake_url))
    spans = shards.read_shard(packs, "spans-00000.parquet")
    shards.put_table(packs, "spans", 0, spans.slice(1), spans.schema)
    shards.remove(shards.join(packs, shards.MANIFEST))
    finish(packs)
    assert validate_packs(packs, tokens=PHASE.tokens, max_seq_len=CONTEXT) == [
        "spans do not cover the 8 sequences of tokens-00000.bin"
    ]
    assert "exactly 7" in validate_packs(packs, tokens=7, max_seq_len=CONTEXT)[0]


def test_a_documents_spans_decode_to_its_text_and_end_with_the_separator(lake_url: str) -> None:
    packs = put_packs(lake_url, clean_text(lake_url))
    tokenizer = a_tokenizer()
    end = tokenizer.token_to_id(END_OF_TEXT)
    whole = {key: form for key, form in forms(packs).items() if form[-1] == end}
    assert len(whole) > 5
    for (document_id, _), form in whole.items():
        assert form[:-1] == tokenizer.encode(TEXTS[document_id]).ids
        assert tokenizer.decode(form[:-1]) == TEXTS[document_id]


def test_a_sequence_has_one_language_and_a_repositorys_files_stand_together(
    lake_url: str,
) -> None:
    packs = put_packs(lake_url, clean_text(lake_url))
    _, spans = stream(packs)
    languages: dict[int, set[str]] = {}
    visits: list[tuple[int, str]] = []
    for span in spans:
        languages.setdefault(span["sequence"], set()).add(span["language"])
        visit = (span["pass_index"], span["repository"])
        if visits[-1:] != [visit]:
            visits.append(visit)
    assert all(len(found) == 1 for found in languages.values())
    assert len(visits) == len(set(visits))


def test_passes_are_whole_and_each_has_an_order_of_its_own(lake_url: str) -> None:
    documents = [row for row in a_corpus() if row["language"] == "c"]
    sources = clean_sources(put_clean_corpus(lake_url, documents), max_passes=3)
    full = sum(sources[0].pass_tokens) // CONTEXT * CONTEXT
    phase = replace(PHASE, tokens=full, global_batch_size=1, max_passes=3)
    packs = put_packs(lake_url, sources, phase=phase)
    orders: list[list[str]] = [[], [], []]
    for document_id, pass_index in forms(packs):
        orders[pass_index].append(document_id)
    assert [len(order) for order in orders] == [12, 12, 12]
    assert set(orders[0]) == set(orders[1]) == set(orders[2])
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_files_come_in_path_order_where_the_recipe_says_so(lake_url: str) -> None:
    packing = replace(PACKING, file_order="path")
    packs = put_packs(lake_url, clean_text(lake_url), packing=packing)
    last: dict[str, tuple[int, str]] = {}
    for document_id, pass_index in forms(packs):
        repository = document_id.split("/")[0]
        assert (pass_index, document_id) > last.get(repository, (0, ""))
        last[repository] = (pass_index, document_id)


def test_repositories_are_packed_in_the_order_of_their_hashes_and_cut_where_a_sequence_ends(
    lake_url: str,
) -> None:
    packs = put_packs(lake_url, clean_text(lake_url), packing=replace(PACKING, bucket_tokens=300))
    tokenizer, seed = a_tokenizer(), PACKING.seed

    def sha256(pass_index: int, name: str) -> str:
        return hashlib.sha256(f"{seed}:{pass_index}:{name}".encode()).hexdigest()

    rest: dict[str, list[int]] = {}
    for language in ("c", "python"):
        rest[language] = [
            token
            for pass_index in range(4)
            for row in sorted(
                (row for row in a_corpus() if row["language"] == language),
                key=lambda row, index=pass_index: (
                    sha256(index, row["repository"]),
                    sha256(index, row["document_id"]),
                ),
            )
            for token in [*tokenizer.encode(row["text"]).ids, tokenizer.token_to_id(END_OF_TEXT)]
        ]
    for entry in shards.manifest(packs).tables(TOKENS):
        tokens = read_tokens(packs, entry).ravel().tolist()
        language = entry.stats["language"]
        assert tokens == rest[language][: len(tokens)]
        del rest[language][: len(tokens)]


@pytest.mark.parametrize(
    "form", [{}, {"fill_in_the_middle_rate": 0.5, "repository_tokens": True, "file_order": "path"}]
)
@pytest.mark.parametrize("exchange", [InProcessExchange(), ManyPartitions()])
@pytest.mark.parametrize("bucket_tokens", [50, 500])
def test_the_number_of_buckets_and_of_shards_written_at_once_changes_nothing(
    lake_url: str, form: dict[str, Any], exchange: Exchange, bucket_tokens: int
) -> None:
    packing = replace(PACKING, shard_sequences=3, **form)
    whole = put_packs(lake_url, clean_text(lake_url), packing=packing)
    parts = put_packs(
        lake_url,
        clean_text(lake_url),
        name="small_memory_packs",
        packing=replace(packing, bucket_tokens=bucket_tokens),
        exchange=exchange,
    )
    assert shards.manifest(whole).digest == shards.manifest(parts).digest


def test_a_pass_of_too_many_buckets_is_exchanged_in_parts_and_packed_alike(
    lake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_exchanges: Counter[str] = Counter()
    by_key = InProcessExchange.by_key

    def packs_of(name: str) -> str:
        def counted(*arguments: Any, **options: Any) -> Any:
            num_exchanges[name] += 1
            return by_key(*arguments, **options)

        monkeypatch.setattr(InProcessExchange, "by_key", counted)
        packs = put_packs(
            lake_url,
            clean_text(lake_url),
            name=name,
            phase=replace(PHASE, tokens=80 * CONTEXT),
            packing=replace(PACKING, bucket_tokens=100),
        )
        return shards.manifest(packs).digest

    whole = packs_of("whole_packs")
    monkeypatch.setattr(packing, "MAX_PARTITIONS", 2)
    assert packs_of("packs_in_parts") == whole
    assert num_exchanges["packs_in_parts"] > num_exchanges["whole_packs"]


def test_counts_that_are_too_high_change_nothing_where_forms_are_no_plain_texts(
    lake_url: str,
) -> None:
    """By the counts, documents of fewer repositories fill the sequences."""
    packing = replace(PACKING, fill_in_the_middle_rate=1.0)
    sources = clean_text(lake_url)
    whole = put_packs(lake_url, sources, packing=packing)
    counted = [
        replace(
            source,
            shards=[partial(recounted, read_shard, factor=3) for read_shard in source.shards],
        )
        for source in sources
    ]
    packs = put_packs(lake_url, counted, name="counted_packs", packing=packing)
    assert shards.manifest(packs).digest == shards.manifest(whole).digest


def test_no_text_is_read_of_a_shard_without_documents_for_the_last_sequences(
    lake_url: str,
) -> None:
    (source,) = clean_sources(
        put_clean_corpus(lake_url, [row for row in a_corpus() if row["language"] == "c"]),
        max_passes=1,
    )
    read: list[str] = []

    def of_repository(columns: Sequence[str], *, name: str) -> pa.Table:
        table = source.shards[0](["repository", *(c for c in columns if c != "repository")])
        read.extend([name] if "text" in columns else [])
        own = table.filter(pc.equal(table["repository"], name))
        return own.select([*columns, "passes"])

    names = ["c-one", "c-two", "c-three"]
    shard_of_each = [partial(of_repository, name=name) for name in names]
    put_packs(
        lake_url,
        [replace(source, shards=shard_of_each)],
        phase=replace(PHASE, tokens=2 * CONTEXT, global_batch_size=1),
    )
    first = min(names, key=lambda name: hashlib.sha256(f"0:0:{name}".encode()).digest())
    assert read == [first]


def test_any_number_of_threads_packs_alike(lake_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_DOCUMENTS_AT_ONCE", 2)
    digests = set()
    for count in (1, 5):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, count=count: set(range(count)))
        packs = put_packs(lake_url, clean_text(lake_url), name=f"packs_by_{count}")
        digests.add(shards.manifest(packs).digest)
    assert len(digests) == 1


def test_the_encoding_is_built_once_for_all_threads(
    lake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_DOCUMENTS_AT_ONCE", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(5)))
    folders = clean_text(lake_url)
    encoding._gigatoken.cache_clear()
    put_packs(lake_url, folders)
    assert encoding._gigatoken.cache_info().misses == 1


def test_an_interrupted_packing_goes_on_to_the_same_digest(lake_url: str, tmp_path: Any) -> None:
    whole = put_packs(lake_url, clean_text(lake_url))
    torn = f"{lake_url}/torn_packs/all/g"
    for name in (
        "tokens-00000.bin",
        "tokens-00002.bin",
        "checksums-00002.bin",
        "spans-00002.parquet",
        "tokens-00003.bin",
    ):
        entry = shards.record(whole, name)
        assert entry is not None
        content = shards.get(shards.join(whole, entry.name))
        known = {"num_rows": entry.num_rows, "num_tokens": entry.num_tokens, "stats": entry.stats}
        shards.put_file(torn, entry.name, content, **known)
    packs = put_packs(lake_url, clean_text(lake_url), name="torn_packs")
    assert packs == torn
    assert shards.manifest(torn).digest == shards.manifest(whole).digest


def test_the_middle_moves_for_all_at_rate_one_and_decoding_moves_it_back(lake_url: str) -> None:
    packing = replace(PACKING, fill_in_the_middle_rate=1.0)
    packs = put_packs(lake_url, clean_text(lake_url), packing=packing)
    tokenizer = a_tokenizer()
    end = tokenizer.token_to_id(END_OF_TEXT)
    moved = 0
    for (document_id, _), form in forms(packs).items():
        assert form[0] == tokenizer.token_to_id("<fim_prefix>")
        if form[-1] == end:
            assert decode_packed(form, tokenizer) == TEXTS[document_id]
            moved += tokenizer.decode(form) != TEXTS[document_id]
    assert moved > 5


def test_repository_tokens_name_repository_and_path(lake_url: str) -> None:
    packing = replace(PACKING, repository_tokens=True)
    packs = put_packs(lake_url, clean_text(lake_url), packing=packing)
    tokens, spans = stream(packs)
    tokenizer = a_tokenizer()
    text = tokenizer.decode(tokens, skip_special_tokens=False)
    for span in spans:
        if span["document_offset"] == 0 and span["sequence_offset"] == 0:
            path = span["document_id"].split("/")[1]
            assert f"<file_sep>{path}\ndef " in text
    head = text.split("<file_sep>")[0]
    assert head == f"<repo_name>{spans[0]['repository']}"
    assert validate_packs(packs, tokens=PHASE.tokens, max_seq_len=CONTEXT) == []


def test_a_text_that_spells_a_special_token_cannot_forge_one(lake_url: str) -> None:
    text = f"a = '{END_OF_TEXT}'\n" * 30
    documents = [a_document("python", "evil", "a.py", text)]
    sources = clean_sources(put_clean_corpus(lake_url, documents), max_passes=4)
    phase = replace(PHASE, tokens=4 * CONTEXT)
    packs = put_packs(lake_url, sources, phase=phase)
    tokens, _ = stream(packs)
    assert a_tokenizer().token_to_id(END_OF_TEXT) not in tokens


def test_a_document_counted_with_another_tokenizer_is_refused(lake_url: str) -> None:
    sources = clean_text(lake_url)
    miscounted = partial(recounted, sources[0].shards[0], factor=2)
    with pytest.raises(ValueError, match="another tokenizer"):
        put_packs(lake_url, [replace(sources[0], shards=[miscounted]), *sources[1:]])


def test_packs_tell_how_many_sequences_begin_in_each_pass(lake_url: str) -> None:
    packs = put_packs(lake_url, clean_text(lake_url))
    _, spans = stream(packs)
    begins = Counter(
        (span["language"], span["pass_index"]) for span in spans if span["sequence_offset"] == 0
    )
    found = passes_by_language(packs)
    assert list(found) == ["c", "python"]
    for language, counts in found.items():
        assert counts == [begins[language, index] for index in range(len(counts))]


def test_texts_of_the_builders_differ() -> None:
    assert len(set(TEXTS.values())) == len(TEXTS) == 24
    assert a_text("a") != a_text("b")
