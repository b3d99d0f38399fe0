"""Ten million scores, generated for this measurement only: publishing the tables, and asking them.

Run from the checkout: `python benchmarks/published_tables.py [SCORES]`. The lake holds SCORES / 2
kept documents of five languages, which two annotators have scored, a sixth as many dropped ones,
three chained checkpoints and synthetic files; it is written once, under .cache/benchmarks. It is
published on two cores as the asset does it (dbt with all its tests), and every question of
docs/questions.md is asked in a process of its own: the query alone, then as `make sql` asks it.
CPU seconds are of the whole process tree, peak memory of its largest process.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa

from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import RAW_FILE
from snow_assets.storage.schemas.curation import (
    CONTAMINATION,
    DECISION,
    DOCUMENT,
    DUPLICATE_CLUSTER,
)
from snow_assets.storage.schemas.pretraining import SEEN
from snow_assets.storage.schemas.quality import SCORE, SELECTION
from snow_assets.storage.schemas.synthesis import SYNTHETIC_DOCUMENT
from snow_assets.tables.evidence import evidence
from snow_assets.tables.sources import lake_tables
from snow_resources.publishing import Warehouse, prepared_manifest, project_digest

CHECKOUT = Path(__file__).resolve().parent.parent
PROJECT = str(CHECKOUT / "dbt_like_sql")
RECIPE = "GENERATED"
LANGUAGES = ("python", "java", "cpp", "javascript", "go")
SHARD_ROWS = 200_000
_QUESTION = re.compile(r"^## (.+?)$.*?^```sql\n(.+?)^```$", re.MULTILINE | re.DOTALL)

# One row per file, a repository's beside each other; everything else is derived from it. `draw`
# and `other` are uniform and depend on the row. Names are spread over the alphabet, as they are in
# a real corpus, and two repositories are called what the questions call theirs.
_FILES = """
create table files as
with drawn as (
    select i, hash(i, 1) / 18446744073709551616.0 as draw,
        hash(i, 2) / 18446744073709551616.0 as other, hash(i, 3) / 18446744073709551616.0 as turn,
        translate(sha256('owner' || i // 300)[:10], '0123456789abcdef', 'acegikmoqsuwybdf') as owner
    from range({num_files}) as rows (i)
)
select i, other,
    sha256('file' || i) as document_id, sha256('raw' || i) as raw_id,
    sha256('text' || i) as text_id,
    'snapshot' as source, '1.0' as revision,
    case i // 60 when {num_files} // 180 then 'greenlet' when {num_files} // 90 then 'pytest'
        else owner || '/repository' || (i // 60) % 5 end as repository,
    case i // 60 when {num_files} // 180 then 'platform/switch_ppc_' || i || '.h'
        when {num_files} // 90 then 'src/part' || i || '/config/__init__.py'
        else 'src/package' || (i % 60) // 8 || '/module_' || i || '.py' end as path,
    (['MIT', 'Apache-2.0', 'BSD-3-Clause', 'ISC', 'Python-2.0'])[1 + (i // 60) % 5] as license,
    ({languages})[1 + (i // 60) % {num_languages}] as language,
    (500 + 20000 * other * other)::bigint as num_bytes,
    (150 + 6000 * other * other)::bigint as num_tokens,
    case when draw < 0.857 then null when draw < 0.93 then 'near_duplicate'
        when draw < 0.96 then 'exact_duplicate' when draw < 0.98 then 'auto_generated'
        when draw < 0.99 then 'long_line' when draw < 0.999 then 'few_letters'
        else 'contaminated' end as reason,
    (sqrt(-2 * ln(other + 1e-12)) * cos(6.283185 * turn) - 4)::float as logit
from drawn
"""
_RANKED = """
create table ranked as
select files.*, placed.percentile
from files left join (
    select i, cume_dist() over (partition by language order by logit) as percentile
    from files where reason is null
) as placed using (i)
order by i
"""
_KEPT = "reason is null"
_SELECTED = f"{_KEPT} and percentile > 0.97"
_COPY = "reason like '%duplicate'"

# asset, table, schema, partitioned by language, what its columns are if not of the same name, rows.
_TABLES = [
    ("raw_code_corpus", "files", RAW_FILE, False, {"content": "''::blob"}, "true"),
    (
        "documents",
        "documents",
        DOCUMENT,
        False,
        {
            "text": "''",
            "num_redacted_emails": "(i % 50 = 0)::bigint",
            "num_redacted_keys": "(i % 900 = 0)::bigint",
        },
        "true",
    ),
    (
        "near_duplicates",
        "clusters",
        DUPLICATE_CLUSTER,
        False,
        {
            "cluster_id": f"if({_COPY}, sha256('file' || (i - 1)), document_id)",
            "is_canonical": "reason is null or reason not like '%duplicate'",
            "kind": f"if({_COPY}, replace(reason, '_duplicate', ''), null)",
            "jaccard": f"if({_COPY}, 0.7 + 0.3 * other, null)",
        },
        "true",
    ),
    (
        "contamination",
        "hits",
        CONTAMINATION,
        False,
        {
            "problem_id": "'HumanEval/' || i % 164",
            "method": "'ngram'",
            "evidence": "'def solution of a problem that many have copied'",
        },
        "reason = 'contaminated'",
    ),
    (
        "clean_corpus",
        "decisions",
        DECISION,
        True,
        {
            "kept": _KEPT,
            "split": f"if({_KEPT}, 'train', null)",
            "num_tokens": f"if({_KEPT}, num_tokens, null)",
            "evidence": f"if({_KEPT}, null, 'seen')",
            "cluster_id": f"if({_COPY}, sha256('file' || (i - 1)), document_id)",
        },
        "true",
    ),
    (
        "high_quality_subset",
        "documents",
        SELECTION,
        True,
        {"percentile": "percentile", "repeats": "if(percentile > 0.97, 4, 0)"},
        _KEPT,
    ),
    (
        "synthetic_set",
        "documents",
        SYNTHETIC_DOCUMENT,
        False,
        {
            "document_id": "sha256('synthetic' || i)",
            "text_id": "sha256('written' || i)",
            "text": "''",
            "seed_document_id": "document_id",
            "seed_repository": "repository",
            "seed_license": "license",
        },
        f"{_SELECTED} and i % 5 = 0",
    ),
    (
        "general_checkpoint",
        "seen",
        SEEN,
        False,
        {"num_passes": "1"},
        f"{_KEPT} and i % 4 = 0",
    ),
    ("continued_checkpoint", "seen", SEEN, False, {"num_passes": "4"}, _SELECTED),
    (
        "enhanced_checkpoint",
        "seen",
        SEEN,
        False,
        {
            "document_id": "sha256('synthetic' || i)",
            "text_id": "sha256('written' || i)",
            "num_passes": "4",
        },
        f"{_SELECTED} and i % 5 = 0",
    ),
]
_PARENTS = {
    "continued_checkpoint": "general_checkpoint",
    "enhanced_checkpoint": "continued_checkpoint",
}


def write_lake(lake: Path, num_scores: int) -> None:
    """The generated lake: five languages' documents, two artifacts of scores."""
    connection = duckdb.connect()
    connection.execute("set threads = 2")
    num_files = num_scores // 2 * 7 // 6
    connection.execute(
        _FILES.format(num_files=num_files, languages=list(LANGUAGES), num_languages=len(LANGUAGES))
    )
    connection.execute(_RANKED)
    connection.execute("drop table files")
    for asset, table, schema, by_language, given, where in _TABLES:
        for partition in LANGUAGES if by_language else ("all",):
            chosen = f"{where} and language = '{partition}'" if by_language else where
            put(connection, lake / asset / partition / "1", table, schema, given, chosen)
    for fingerprint, logit in (("1", "(0.9 * logit + 0.4 * other)::float"), ("2", "logit")):
        given = dict.fromkeys(("logit", "top_logit", "middle_logit", "bottom_logit"), logit)
        given["annotator"] = f"sha256('annotator{fingerprint}')"
        for language in LANGUAGES:
            folder = lake / "quality_scores" / language / fingerprint
            chosen = f"{_KEPT} and language = '{language}'"
            put(connection, folder, "scores", SCORE, given, chosen)
    connection.close()


def put(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    table: str,
    schema: pa.Schema,
    given: dict[str, str],
    where: str,
) -> None:
    """One artifact, written as `shards.put_table` writes it, but not through Python's rows."""
    folder.mkdir(parents=True)
    sql = f"select {columns(schema, given)} from ranked where {where}"
    [(first, last, num_rows)] = connection.execute(
        f"select min(i), max(i), count(*) from ranked where {where}"
    ).fetchall()
    num_shards = -(-num_rows // SHARD_ROWS)
    for index in range(num_shards):
        start, end = (first + (last + 1 - first) * at // num_shards for at in (index, index + 1))
        path = folder / shards.table_name(table, index)
        connection.execute(
            f"copy ({sql} and i >= {start} and i < {end}) to '{path}'"
            " (format parquet, compression zstd, compression_level 1, row_group_size 4096)"
        )
        shards.put_file(str(folder), path.name, path.read_bytes())
    lake, (asset, partition, fingerprint) = folder.parents[2], folder.parts[-3:]
    parent = _PARENTS.get(asset)
    shards.finish(
        str(folder),
        asset=asset,
        partition=partition,
        fingerprint=fingerprint,
        code_version="1",
        recipe=RECIPE,
        config={},
        stats={},
        inputs=[
            shards.Input(
                asset=parent,
                partition="all",
                fingerprint="1",
                digest=shards.manifest(str(lake / parent / "all" / "1")).digest,
            )
        ]
        if parent
        else [],
    )


def columns(schema: pa.Schema, given: dict[str, str]) -> str:
    """A select list of the schema's columns: derived, of the file, or a plain value."""
    plain = {
        "string": "'some'",
        "int64": "10::bigint",
        "int32": "1",
        "float": "0.5::float",
        "double": "0.5::double",
        "bool": "false",
        "list<item: string>": "[]::varchar[]",
    }
    of_the_file = {
        "document_id",
        "raw_id",
        "text_id",
        "source",
        "repository",
        "revision",
        "path",
        "license",
        "language",
        "num_bytes",
        "num_tokens",
        "reason",
        "logit",
    }
    listed = []
    for column in schema:
        if column.name in given:
            value = given[column.name]
        elif column.name in of_the_file:
            value = column.name
        else:
            value = plain[str(column.type)]
            value = f"if(false, {value}, null)" if column.nullable else value
        listed.append(f"{value} as {column.name}")
    return ", ".join(listed)


def current(lake: Path) -> list[str]:
    """The newest artifact of each partition."""
    return [
        str(max(partition.iterdir()))
        for asset in sorted(lake.iterdir())
        for partition in sorted(asset.iterdir())
    ]


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds, those of finished child processes too."""

    def cpu_seconds() -> float:
        told = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in told)

    started, before = time.perf_counter(), cpu_seconds()
    work()
    return time.perf_counter() - started, cpu_seconds() - before


def ask(warehouse: Path, sql: str) -> None:
    """The seconds of one question: of the query, in a process that has opened nothing yet; all."""
    program = (
        "import sys, time; from snow_resources.warehouse import query\n"
        "started = time.perf_counter(); query(sys.argv[1], sys.argv[2])\n"
        "print(time.perf_counter() - started)"
    )
    alone = subprocess.run(
        [sys.executable, "-c", program, str(warehouse), sql],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    by_hand = [sys.executable, "-W", "ignore", "-m", "snow_resources.sql", sql]
    home = os.environ | {"SNOW_HOME": str(warehouse.parent)}
    wall, cpu = spent(
        lambda: subprocess.run(by_hand, check=True, env=home, stdout=subprocess.DEVNULL)
    )
    print(f"| {float(alone):.2f} | {wall:.2f} | {cpu:.2f} |", flush=True)


def main() -> None:
    num_scores = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    place = CHECKOUT / ".cache" / "benchmarks" / f"published-tables-{num_scores}"
    lake, half_made = place / "lake", place / "half-made"
    if not lake.exists():
        shutil.rmtree(half_made, ignore_errors=True)
        wall, cpu = spent(lambda: write_lake(half_made, num_scores))
        half_made.rename(lake)
        print(f"the lake is written: {wall:.0f} s, {cpu:.0f} CPU s\n", flush=True)
    warehouse = Warehouse(path=str(place / "warehouse.duckdb"), project=PROJECT)
    project = project_digest(warehouse.project)
    made = lake_tables(str(lake), current(lake), recipe=RECIPE, project=project)
    prepared_manifest(PROJECT, place / "dbt")  # the code location has parsed the project already
    nodes = []
    manifests = {**made.manifests, "evidence": evidence(str(lake), made.artifacts)}
    wall, cpu = spent(
        lambda: nodes.extend(warehouse.publish(made.relations, manifests, digest=made.digest))
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    size = Path(warehouse.path).stat().st_size / 1e9
    print(
        f"{num_scores:,} scores published: {wall:.1f} s, {cpu:.1f} CPU s, peak {peak:.1f} GiB,"
        f" a file of {size:.2f} GB; nodes take"
        f" {sum(node.seconds for node in nodes):.1f} s\n\n| node | s |\n|---|---:|"
    )
    for node in sorted(nodes, key=lambda node: -node.seconds)[:15]:
        print(f"| {node.unique_id.removesuffix('.snow')} | {node.seconds:.2f} |")
    print("\n| question | the query, s | `make sql`, s | its CPU s |\n|---|---:|---:|---:|")
    page = (CHECKOUT / "docs" / "questions.md").read_text()
    for title, sql in _QUESTION.findall(page):
        print(f"| {title} ", end="", flush=True)
        ask(Path(warehouse.path), sql)


if __name__ == "__main__":
    main()
