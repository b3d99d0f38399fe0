"""Packs are searched for leaks once, in what a model reads, and the result is kept with them."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from snow_assets.curation.decontamination.gate import ContaminatedError, GateHit
from snow_assets.curation.tokenizer.tokens import FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, SPECIAL_TOKENS
from snow_assets.pretraining import leaks
from snow_assets.pretraining.decoding import Decoder, decode_packed
from snow_assets.pretraining.gates import Benchmarks, search_for_leaks
from snow_assets.pretraining.leaks import SharedGate, search_packs
from snow_assets.pretraining.packs import pack
from snow_assets.pretraining.sources import clean_sources
from snow_assets.recipe import ContaminationExemption, PackingRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM
from tests.pretraining.builders import (
    CONTEXT,
    PACKING,
    PHASE,
    SOLUTION,
    a_corpus,
    a_document,
    a_text,
    a_tokenizer,
    finish,
    put_clean_corpus,
    put_problems,
)

WINDOW = 32
RENAMED = SOLUTION.replace("words", "items").replace("counts", "tally").replace("word", "w")
DESCRIPTION = (
    "Return the word that comes most often, and how often it does; count every other word once "
    "more than it was counted before."
)
LEAKS = {
    "verbatim": f"def f(words):\n{SOLUTION}",
    "white space": f"def f(words):\n{SOLUTION}".replace("    ", "\t").replace(" = ", "  =  "),
    "renamed": f"def g(items):\n{RENAMED}",
    "described": f"# {DESCRIPTION.upper()}".replace(" once ", "\n# once\n#   "),
}
EVIL = "python/verbatim.py"


def benchmarks_of(lake_url: str) -> Benchmarks:
    folder = f"{lake_url}/benchmark_problems/all/g"
    if not shards.is_finished(folder):
        put_problems(lake_url)
    problems = shards.read(folder, "problems").to_pylist()
    problems[0]["prompt"] = f'def most_frequent(words):\n    """{DESCRIPTION}"""\n'
    table = pa.Table.from_pylist(problems, schema=BENCHMARK_PROBLEM)
    return Benchmarks(problems=table, window_tokens=WINDOW)


def put_all(
    lake_url: str, texts: dict[str, str], packing: PackingRecipe = PACKING, max_passes: int = 1
) -> tuple[str, list[str]]:
    """Packs, not finished, of the corpus's Python and further texts by name; clean folders."""
    documents = [row for row in a_corpus() if row["language"] == "python"]
    documents += [
        a_document("python", "python", f"{name}.py", text) for name, text in texts.items()
    ]
    clean = put_clean_corpus(lake_url, documents)
    sources = clean_sources(clean, max_passes=max_passes)
    folder = f"{lake_url}/general_packs/all/g"
    sequences = sum(sources[0].pass_tokens) // CONTEXT
    pack(
        sources,
        folder=folder,
        tokenizer=a_tokenizer(),
        phase=replace(PHASE, tokens=sequences * CONTEXT, global_batch_size=1),
        packing=packing,
        max_seq_len=CONTEXT,
    )
    return folder, clean


def found(lake_url: str, packs: str, exempt: frozenset[str] = frozenset()) -> list[GateHit]:
    benchmarks = benchmarks_of(lake_url)
    gate = SharedGate(benchmarks.problems, WINDOW)
    return search_packs(packs, a_tokenizer(), gate, searched_for=benchmarks.digest, exempt=exempt)


@pytest.mark.parametrize("rate", [0.0, 1.0])
@pytest.mark.parametrize("shard_sequences", [1, 4, 1000])
def test_planted_leaks_are_found_in_tokens_of_any_layout(
    lake_url: str, rate: float, shard_sequences: int
) -> None:
    """Cut at the ends of sequences and shards, reordered for fill-in-the-middle, or as they are."""
    texts = {name: a_text("before", 40) + leak + a_text("after", 3) for name, leak in LEAKS.items()}
    packing = replace(
        PACKING, fill_in_the_middle_rate=rate, shard_sequences=shard_sequences, seed=1
    )
    packs, _ = put_all(lake_url, texts, packing)
    hits = {(hit.document_id, hit.part) for hit in found(lake_url, packs)}
    assert hits == {
        (f"python/{name}.py", "description" if name == "described" else "solution")
        for name in LEAKS
    }


def test_packs_without_leaks_have_an_empty_result_for_each_shard(lake_url: str) -> None:
    packs, clean = put_all(lake_url, {"harmless": a_text("harmless")}, max_passes=3)
    search_for_leaks(packs, a_tokenizer(), clean, benchmarks_of(lake_url))
    finish(packs)
    manifest = shards.manifest(packs)
    results = manifest.tables(leaks.LEAKS)
    assert [entry.num_rows for entry in results] == [0] * len(manifest.tables("tokens"))


def test_a_shard_is_searched_once_and_again_when_it_or_the_problems_change(
    lake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs, _ = put_all(lake_url, {"verbatim": LEAKS["verbatim"]})
    benchmarks = benchmarks_of(lake_url)
    gate = SharedGate(benchmarks.problems, WINDOW)
    searched: list[int] = []
    search_hits = leaks._Search.hits
    monkeypatch.setattr(
        leaks._Search,
        "hits",
        lambda self: searched.append(self.shard.index) or search_hits(self),
    )

    def search(searched_for: str) -> list[GateHit]:
        return search_packs(
            packs, a_tokenizer(), gate, searched_for=searched_for, exempt=frozenset()
        )

    first = search("a")
    num_shards = len(shards.records(packs, "tokens"))
    assert sorted(searched) == list(range(num_shards))
    assert search("a") == first != []
    assert len(searched) == num_shards
    shards.remove(f"{packs}/{shards.record_name(shards.table_name(leaks.LEAKS, 1))}")
    assert search("a") == first
    assert searched[num_shards:] == [1]
    search("b")
    assert len(searched) == 2 * num_shards + 1


def test_a_leak_stops_unless_its_document_is_exempt_and_then_it_is_recorded(lake_url: str) -> None:
    packs, clean = put_all(lake_url, {"verbatim": LEAKS["verbatim"]})
    benchmarks = benchmarks_of(lake_url)
    with pytest.raises(ContaminatedError, match=rf"document {EVIL} holds the solution of T/0"):
        search_for_leaks(packs, a_tokenizer(), clean, benchmarks)
    exemption = ContaminationExemption(document=EVIL, reason="a usual loop, reviewed")
    exempted = replace(benchmarks, exemptions=[exemption])
    assert exempted.digest != benchmarks.digest
    search_for_leaks(packs, a_tokenizer(), clean, exempted)
    finish(packs)
    rows: list[dict[str, Any]] = shards.read(packs, leaks.LEAKS).to_pylist()
    assert {(row["document_id"], row["is_exempt"]) for row in rows} == {(EVIL, True)}


def test_spans_cannot_hide_tokens(lake_url: str) -> None:
    packs, _ = put_all(
        lake_url, {"verbatim": LEAKS["verbatim"]}, replace(PACKING, shard_sequences=1000)
    )
    table = shards.read_shard(packs, "spans-00000.parquet")
    offsets = np.arange(1, table.num_rows + 1)
    index = table.schema.get_field_index("document_offset")
    continued = table.set_column(index, table.schema.field(index), [offsets])
    shards.put_table(packs, "spans", 0, continued, table.schema)
    assert {hit.problem_id for hit in found(lake_url, packs)} == {"T/0"}
    shards.put_table(packs, "spans", 0, table.slice(1), table.schema)
    with pytest.raises(ValueError, match=r"do not cover the \d+ sequences of tokens-00000"):
        found(lake_url, packs)


def test_many_documents_decode_as_one_does() -> None:
    tokenizer = a_tokenizer()
    decoder = Decoder.of(tokenizer)
    assert decoder.token_offsets is not None
    prefix, middle, suffix = map(tokenizer.token_to_id, (FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX))
    random = np.random.default_rng(0)
    documents = [
        *(tokenizer.encode(a_text(f"name{index}")).ids for index in range(5)),
        [],
        [7, prefix, 40, 41, suffix, 42, middle, 43, 44, 0],
        *(random.integers(0, tokenizer.get_vocab_size(), size).tolist() for size in range(1, 200)),
    ]
    starts = np.cumsum([0, *map(len, documents)])
    ids = np.concatenate([np.array(document, np.uint32) for document in documents])
    data, offsets = decoder.decode(ids, starts)
    for row, document in enumerate(documents):
        content = data[offsets[row] : offsets[row + 1]].tobytes()
        expected = decode_packed(document, tokenizer)
        if {prefix, middle, suffix}.isdisjoint(document):  # else a character may be cut by them
            assert content.decode(errors="replace") == expected
        assert [char for char in content.decode(errors="replace") if char != "\ufffd"] == [
            char for char in expected if char != "\ufffd"
        ] or not {prefix, middle, suffix}.isdisjoint(document)


def test_a_tokenizer_whose_tokens_mean_no_fixed_bytes_decodes_by_itself() -> None:
    tokenizer = Tokenizer(
        models.WordLevel({"a": 0, "b": 1, **{t: 2 + i for i, t in enumerate(SPECIAL_TOKENS)}}, "a")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    decoder = Decoder.of(tokenizer)
    assert decoder.token_offsets is None
    data, offsets = decoder.decode(np.array([0, 1, 1], np.uint32), np.array([0, 2, 3]))
    texts = [data[start:end].tobytes().decode() for start, end in pairwise(offsets)]
    assert texts == [tokenizer.decode([0, 1]), tokenizer.decode([1])]
