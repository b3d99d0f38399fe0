"""Finished artifacts of curation and its upstream, from a few texts."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from snow_assets.curation.clean import decide
from snow_assets.curation.decisions import CurationInputs
from snow_assets.curation.decontamination.prefilter import find_contamination
from snow_assets.curation.dedup.candidates import find_candidate_pairs
from snow_assets.curation.dedup.canonical_documents import put_clusters
from snow_assets.curation.dedup.signatures import put_signatures
from snow_assets.curation.dedup.verification import verify_pairs
from snow_assets.curation.prepare import prepare
from snow_assets.curation.split import put_held_out_repositories
from snow_assets.curation.tokenizer.training import put_trained_tokenizer
from snow_assets.recipe import SMOKE, CurationRecipe
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.storage import shards
from snow_assets.storage.ids import document_id
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM, RAW_FILE
from tests.artifacts import finish, point

RECIPE = SMOKE.curation


def a_file(
    path: str, content: str | bytes, *, repository: str = "lib", source: str = "src"
) -> dict[str, Any]:
    """A row of raw_code_corpus."""
    received = content.encode() if isinstance(content, str) else content
    raw_id = hashlib.sha256(received).hexdigest()
    return {
        "document_id": document_id(source, repository, path, raw_id),
        "raw_id": raw_id,
        "source": source,
        "repository": repository,
        "revision": "1.0",
        "path": path,
        "license": "MIT",
        "license_evidence": None,
        "copyright_notices": [f"Copyright (c) 2024 The {repository} authors"],
        "content": received,
    }


def a_program(name: str, *, functions: int = 12) -> str:
    """Python that resembles no program of another name."""
    words = [hashlib.sha256(f"{name}{number}".encode()).hexdigest() for number in range(functions)]
    letters = str.maketrans("0123456789", "ghijklmnop")
    return "\n\n".join(
        f"def {name}_{word[:6]}({word[6:12]}, {word[12:18]}):\n"
        f"    return {word[6:12]}.{word[18:26]}({word[12:18]}.{word[26:34]})"
        for word in (word.translate(letters) for word in words)
    )


def a_problem(problem_id: str = "Task/1", **columns: Any) -> dict[str, Any]:
    return {
        "problem_id": problem_id,
        "benchmark": "HumanEval",
        "prompt": (
            "def crossing_pairs(intervals):\n"
            '    """Count how many of the given closed intervals cross another one, where\n'
            "    touching at a border point counts as crossing, too.\n"
            '    """\n'
        ),
        "solution": (
            "    total = 0\n"
            "    for left, interval in enumerate(intervals):\n"
            "        for other in intervals[left + 1:]:\n"
            "            if interval[0] <= other[1] and other[0] <= interval[1]:\n"
            "                total += 1\n"
            "    return total\n"
        ),
        "test": "assert crossing_pairs([]) == 0",
        "entry_point": "crossing_pairs",
        "is_validation": False,
    } | columns


def raw_corpus(
    lake: str, files: Sequence[Mapping[str, Any]], *, source: str = "src", per_shard: int = 100
) -> str:
    folder = f"{lake}/raw_code_corpus/{source}/{'0' * 32}"
    for index, start in enumerate(range(0, max(1, len(files)), per_shard)):
        shards.put_table(folder, "files", index, files[start : start + per_shard], RAW_FILE)
    return finish(folder)


def problems(lake: str, rows: Sequence[Mapping[str, Any]]) -> str:
    folder = f"{lake}/benchmark_problems/all/{'0' * 32}"
    shards.put_table(folder, "problems", 0, rows, BENCHMARK_PROBLEM)
    return finish(folder)


def documents(
    lake: str, raw: str, *, recipe: CurationRecipe = RECIPE, exchange: Exchange = IN_PROCESS
) -> str:
    folder = f"{lake}/documents/{raw.rsplit('/', 3)[2]}/{'0' * 32}"
    stats = prepare(
        raw,
        folder,
        languages=recipe.languages,
        with_parses=recipe.filters.drop_unparsable,
        exchange=exchange,
    )
    return finish(folder, inputs=[raw], stats=stats)


def signatures(
    lake: str, made: str, *, recipe: CurationRecipe = RECIPE, exchange: Exchange = IN_PROCESS
) -> str:
    folder = f"{lake}/signatures/{made.rsplit('/', 3)[2]}/{made.rsplit('/', 3)[3]}"
    if not shards.is_finished(folder):
        stats = put_signatures(made, folder, recipe=recipe.near_duplicates, exchange=exchange)
        finish(folder, inputs=[made], stats=stats)
    return folder


def candidate_pairs(
    lake: str,
    made: Sequence[str],
    *,
    recipe: CurationRecipe = RECIPE,
    name: str = "0" * 32,
    exchange: Exchange = IN_PROCESS,
) -> str:
    folder = f"{lake}/candidate_pairs/all/{name}"
    signed = [signatures(lake, documents, recipe=recipe, exchange=exchange) for documents in made]
    if not shards.is_finished(folder):
        stats = find_candidate_pairs(
            made,
            signed,
            folder,
            filters=recipe.filters,
            recipe=recipe.near_duplicates,
            exchange=exchange,
        )
        finish(folder, inputs=[*made, *signed], stats=stats)
    return folder


def verified_pairs(
    lake: str,
    made: Sequence[str],
    *,
    recipe: CurationRecipe = RECIPE,
    name: str = "0" * 32,
    exchange: Exchange = IN_PROCESS,
) -> str:
    folder = f"{lake}/verified_pairs/all/{name}"
    candidates = candidate_pairs(lake, made, recipe=recipe, name=name, exchange=exchange)
    signed = [signatures(lake, documents, recipe=recipe, exchange=exchange) for documents in made]
    if not shards.is_finished(folder):
        stats = verify_pairs(
            candidates,
            signed,
            folder,
            min_jaccard=recipe.near_duplicates.min_jaccard,
            exchange=exchange,
        )
        finish(folder, inputs=[candidates, *signed], stats=stats)
    return folder


def near_duplicates(
    lake: str,
    made: Sequence[str],
    *,
    recipe: CurationRecipe = RECIPE,
    name: str = "0" * 32,
    exchange: Exchange = IN_PROCESS,
) -> str:
    folder = f"{lake}/near_duplicates/all/{name}"
    pairs = verified_pairs(lake, made, recipe=recipe, name=name, exchange=exchange)
    stats = put_clusters(made, pairs, folder, filters=recipe.filters, exchange=exchange)
    return finish(folder, inputs=[*made, pairs], stats=stats)


def held_out(
    lake: str, copies: str, *, recipe: CurationRecipe = RECIPE, name: str = "0" * 32
) -> str:
    folder = f"{lake}/held_out_repositories/all/{name}"
    stats = put_held_out_repositories(copies, folder, recipe=recipe)
    return finish(folder, inputs=[copies], stats=stats)


def contamination(
    lake: str,
    made: str,
    known: str,
    *,
    recipe: CurationRecipe = RECIPE,
    exchange: Exchange = IN_PROCESS,
) -> str:
    folder = f"{lake}/contamination/{made.rsplit('/', 3)[2]}/{'0' * 32}"
    stats = find_contamination(
        made,
        folder,
        problems=shards.read(known, "problems"),
        recipe=recipe.contamination,
        exchange=exchange,
    )
    return finish(folder, inputs=[made, known], stats=stats)


def clean_corpora(
    lake: str,
    files: Sequence[Mapping[str, Any]],
    *,
    problem_rows: Sequence[Mapping[str, Any]] = (),
    recipe: CurationRecipe = RECIPE,
    exchange: Exchange = IN_PROCESS,
    per_shard: int = 100,
) -> dict[str, str]:
    """Language -> a finished clean_corpus artifact made of received files; pointers too."""
    names = sorted({str(row["source"]) for row in files})
    raw = [
        raw_corpus(
            lake, [row for row in files if row["source"] == name], source=name, per_shard=per_shard
        )
        for name in names
    ]
    known = problems(lake, list(problem_rows) or [a_problem()])
    made = [documents(lake, folder, recipe=recipe, exchange=exchange) for folder in raw]
    copies = near_duplicates(lake, made, recipe=recipe, exchange=exchange)
    quoting = [
        contamination(lake, folder, known, recipe=recipe, exchange=exchange) for folder in made
    ]
    split = held_out(lake, copies, recipe=recipe)
    curated = CurationInputs(
        documents=made,
        near_duplicates=copies,
        held_out_repositories=split,
        contamination=quoting,
    )
    counter = f"{lake}/tokenizer/all/{'0' * 32}"
    put_trained_tokenizer(curated, counter, recipe=recipe, exchange=exchange)
    finish(counter, inputs=[*made, copies, split, *quoting])
    corpora = {}
    for language in recipe.languages:
        folder = f"{lake}/clean_corpus/{language}/{'0' * 32}"
        stats = decide(language, curated, counter, folder, recipe=recipe, exchange=exchange)
        corpora[language] = finish(
            folder, inputs=[*made, copies, split, *quoting, counter], stats=stats
        )
    for folder in [*raw, known, *made, copies, split, *quoting, counter, *corpora.values()]:
        point(lake, folder)
    return corpora
