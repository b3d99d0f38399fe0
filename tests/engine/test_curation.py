"""All of curation, ranks and packs included: equal digests for any executor and partitions."""

import hashlib
import itertools
import random
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from snow_assets.curation.dedup.signatures import signature_folders
from snow_assets.curation.tokenizer.tokens import load_tokenizer
from snow_assets.pretraining.gates import assert_packs_not_held_out, assert_trainable_documents
from snow_assets.pretraining.leaks import SharedGate, search_packs
from snow_assets.pretraining.packs import pack
from snow_assets.pretraining.sources import clean_sources, high_quality_sources, mixed_sources
from snow_assets.quality import selection
from snow_assets.quality.stats import train_tokens
from snow_assets.recipe import SelectionRecipe
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import InProcessExchange
from snow_assets.runtime.exchange.ray_cluster import RayExchange
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM
from snow_assets.storage.schemas.quality import SCORE
from tests.artifacts import finish
from tests.curation.builders import a_file, a_problem, a_program, clean_corpora
from tests.pretraining.builders import CONTEXT, PACKING, PHASE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NUM_FILES = 2_000
NUM_INSTALLED_FILES = 40_000
LINES = 40  # of an installed file
NUM_PARTS = 4  # of a language's scores
EXTENSIONS = frozenset((".py", ".h", ".hpp", ".c", ".cpp", ".js", ".sql"))
SELECTION_RECIPE = SelectionRecipe(
    ranking="quality",
    ranking_seed=0,
    budget_tokens=20_000,
    percentiles=(0.5, 0.9),
    repeats=(1, 2),
    max_repeats=4,
    fill="budget",
)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Files of two sources, and the sizes of what is made of them."""

    files: Sequence[dict[str, Any]]
    languages: tuple[str, ...]  # which are selected and packed
    files_per_shard: int = 150
    selected_tokens: int = 20_000
    num_sequences: int = 40
    seq_len: int = CONTEXT
    is_generated: bool = True
    min_part: float = 0.1  # of the files: exact duplicates, and near duplicates


def generated_files() -> list[dict[str, Any]]:
    """Two sources; a quarter of the files are exact duplicates, a quarter near duplicates."""
    chance = random.Random(0)
    files = []
    for number in range(NUM_FILES):
        kind, original = number % 4, chance.randrange(1 + number // 4)
        text = a_program(f"program{original if kind > 1 else number}", functions=8)
        files.append(
            a_file(
                f"{number}.{chance.choice(['py', 'sql'])}",
                f"{text}\nlast_{number} = {number}\n" if kind == 3 else text,
                repository=f"repository{chance.randrange(40)}",
                source=("amber", "birch")[number % 2],
            )
        )
    quoting = a_problem()["prompt"] + a_problem()["solution"]
    files += [
        a_file("quoting.py", quoting, source="amber"),
        a_file("nul.py", b"\0", source="birch"),
    ]
    return files


def installed_files() -> list[dict[str, Any]]:
    """The first lines of this environment's installed files, of its distributions as repositories.

    If it has too few files, their next lines are files, too.
    """
    folder = Path(sysconfig.get_path("purelib"))
    paths = sorted(path for path in folder.rglob("*") if path.suffix in EXTENSIONS)
    files = []
    for piece, path in itertools.islice(pieces(paths), NUM_INSTALLED_FILES):
        name = path.relative_to(folder)
        files.append(
            a_file(
                f"{piece.start}/{name}",
                b"".join(path.read_bytes().splitlines(keepends=True)[piece]),
                repository=name.parts[0],
                source=("amber", "birch")[len(name.parts[0]) % 2],
            )
        )
    return files


def pieces(paths: Sequence[Path]) -> Iterator[tuple[slice, Path]]:
    for start in itertools.count(0, LINES):
        for path in paths:
            yield slice(start, start + LINES), path


def put_scores(lake: str, language: str, clean: str) -> str:
    """Logits that follow from the texts' ids alone."""
    folder = f"{lake}/quality_scores/{language}/{'0' * 32}"
    ids = sorted(set(shards.read(clean, "decisions", columns=["text_id"])["text_id"].to_pylist()))
    logits = [hashlib.sha256(text_id.encode()).digest()[0] / 16 for text_id in ids]
    rows = [
        {"text_id": text_id, "annotator": "1", "logit": logit, "top_logit": logit, "num_windows": 1}
        for text_id, logit in zip(ids, logits, strict=True)
    ]
    for index in range(NUM_PARTS):
        part = pa.Table.from_pylist(rows[index::NUM_PARTS], schema=SCORE)
        shards.put_table(folder, "scores", index, part, SCORE)
    return finish(folder, inputs=[clean])


def put_subset(
    lake: str, language: str, clean: dict[str, str], recipe: SelectionRecipe, exchange: Exchange
) -> str:
    folder = f"{lake}/high_quality_subset/{language}/{'0' * 32}"
    stats = selection.write(
        folder,
        clean_folder=clean[language],
        scores_folder=put_scores(lake, language, clean[language]),
        language=language,
        language_tokens=train_tokens(clean),
        gates=selection.LanguageGates(
            annotator="1", failures={name: [] for name in clean}, ungated=frozenset()
        ),
        recipe=recipe,
        exchange=exchange,
    )
    return finish(folder, stats=stats)


def put_packs(
    lake: str, clean: dict[str, str], subsets: list[str], corpus: Corpus, exchange: Exchange
) -> str:
    """Packs of clean and selected text, searched for a program that the generated files hold."""
    (tokenizer_folder,) = shards.input_folders(clean["python"], "tokenizer")
    tokenizer = load_tokenizer(tokenizer_folder)
    folders = list(clean.values())
    sources = [
        *clean_sources(folders, max_passes=1, exchange=exchange),
        *high_quality_sources(folders, subsets, max_passes=4, exchange=exchange),
    ]
    assert_trainable_documents(sources, folders, exchange=exchange)
    packs = f"{lake}/general_packs/all/{'0' * 32}"
    stats = pack(
        mixed_sources(sources),
        folder=packs,
        tokenizer=tokenizer,
        phase=replace(PHASE, tokens=corpus.num_sequences * corpus.seq_len),
        packing=replace(PACKING, shard_sequences=corpus.num_sequences // 5),
        max_seq_len=corpus.seq_len,
        exchange=exchange,
    )
    problem = a_problem(solution=a_program("program0", functions=8))
    problems = pa.Table.from_pylist([problem], schema=BENCHMARK_PROBLEM)
    hits = search_packs(
        packs,
        tokenizer,
        SharedGate(problems, 32),
        searched_for="a program",
        exempt=frozenset(),
        exchange=exchange,
    )
    assert bool(hits) == corpus.is_generated
    finish(packs, stats=stats)
    assert_packs_not_held_out(packs, folders, exchange=exchange)
    return packs


def curate(lake: Path, corpus: Corpus, exchange: Exchange) -> dict[str, str]:
    """The digest of each artifact, by asset and partition."""
    all_corpora = clean_corpora(
        str(lake), corpus.files, exchange=exchange, per_shard=corpus.files_per_shard
    )
    clean = {language: all_corpora[language] for language in corpus.languages}
    recipe = replace(SELECTION_RECIPE, budget_tokens=corpus.selected_tokens)
    subsets = [put_subset(str(lake), language, clean, recipe, exchange) for language in clean]
    packs = put_packs(str(lake), clean, subsets, corpus, exchange)
    folders = {
        folder
        for name in all_corpora.values()
        for asset in (
            "documents",
            "near_duplicates",
            "held_out_repositories",
            "contamination",
            "tokenizer",
        )
        for folder in shards.input_folders(name, asset)
    }
    (near_duplicates,) = (folder for folder in folders if "/near_duplicates/" in folder)
    folders |= {*all_corpora.values(), *subsets, *signature_folders(near_duplicates), packs}
    return {
        folder.removeprefix(f"{lake}/").rsplit("/", 1)[0]: shards.manifest(folder).digest
        for folder in folders
    }


def expected_digests(lake: Path, corpus: Corpus) -> dict[str, str]:
    """In this process, with a partition for everything; every stage has something to decide."""
    digests = curate(lake, corpus, InProcessExchange(partition_bytes=2**40))
    num_files = len(corpus.files)
    stats = shards.manifest(f"{lake}/near_duplicates/all/{'0' * 32}").stats
    assert min(stats["exact_duplicates"], stats["near_duplicates"]) > corpus.min_part * num_files
    for language in corpus.languages:
        stats = shards.manifest(f"{lake}/clean_corpus/{language}/{'0' * 32}").stats
        num_documents = min(stats["train_documents"], stats["held_out_documents"])
        assert num_documents > 0.1 * corpus.min_part * num_files
        stats = shards.manifest(f"{lake}/high_quality_subset/{language}/{'0' * 32}").stats
        assert 0 < stats["selected_documents"] < stats["documents"]
    assert {name.split("/")[0] for name in digests} == {
        "documents",
        "signatures",
        "near_duplicates",
        "held_out_repositories",
        "contamination",
        "tokenizer",
        "clean_corpus",
        "high_quality_subset",
        "general_packs",
    }
    return digests


@pytest.fixture(scope="module")
def programs() -> Corpus:
    return Corpus(files=generated_files(), languages=("python", "sql"))


@pytest.fixture(scope="module")
def expected(programs: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return expected_digests(tmp_path_factory.mktemp("lake"), programs)


@pytest.mark.parametrize("partition_bytes", [1_000_000, 30_000])
def test_the_number_of_partitions_changes_no_digest(
    programs: Corpus, expected: dict[str, str], tmp_path: Path, partition_bytes: int
) -> None:
    exchange = InProcessExchange(partition_bytes=partition_bytes)
    assert exchange.num_partitions(NUM_FILES * 16 * 42) > 1
    assert curate(tmp_path, programs, exchange) == expected


@pytest.mark.parametrize("partition_bytes", [2**40, 100_000])
def test_two_nodes_change_no_digest(
    programs: Corpus,
    expected: dict[str, str],
    connected: Any,
    tmp_path: Path,
    partition_bytes: int,
) -> None:
    assert curate(tmp_path, programs, RayExchange(partition_bytes=partition_bytes)) == expected


def test_forty_thousand_installed_files_on_two_nodes_give_equal_digests(
    connected: Any, tmp_path: Path
) -> None:
    corpus = Corpus(
        files=installed_files(),
        languages=("cpp", "python"),
        files_per_shard=2_000,
        selected_tokens=1_000_000,
        num_sequences=4_000,
        seq_len=512,
        is_generated=False,
        min_part=0.01,
    )
    expected = expected_digests(tmp_path / "here", corpus)
    exchange = RayExchange(partition_bytes=2_000_000)
    assert exchange.num_partitions(NUM_INSTALLED_FILES * 16 * 42) > 10
    assert curate(tmp_path / "nodes", corpus, exchange) == expected
