"""Publishing of tables: dbt builds a new DuckDB file, and a rename publishes it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import fsspec
import pyarrow as pa

from snow_resources.file_lock import exclusive
from snow_resources.table_versions import Version, folder_of, put_version
from snow_resources.warehouse import WarehouseError, query

if TYPE_CHECKING:
    import duckdb

_RESULTS = "published.json"
_LOGGER = logging.getLogger(__name__)


class RecipeFiles(NamedTuple):
    """Parquet files (URLs) of a recipe's current or former artifacts."""

    recipe: str
    is_current: bool
    files: tuple[str, ...]


class Relation(NamedTuple):
    """A table of a dbt source, by recipe; without files it is empty.

    A file that several recipes' pointers name is listed for each of them.
    """

    source: str
    table: str
    schema: pa.Schema
    parts: tuple[RecipeFiles, ...]


@dataclass(frozen=True, kw_only=True)
class Node:
    """Result of a model or test of the dbt project."""

    unique_id: str
    status: str  # success, pass, warn, fail, error, skipped
    message: str
    failures: int
    seconds: float

    @property
    def is_good(self) -> bool:
        return self.status in ("success", "pass", "warn")


class PublishingError(Exception):
    """A dbt model or test failed, so nothing is published; `nodes` hold the results."""

    def __init__(self, message: str, nodes: Sequence[Node]) -> None:
        super().__init__(message)
        self.nodes = nodes


@dataclass(frozen=True, kw_only=True)
class Warehouse:
    """The published file and the dbt project that builds it; dbt's files are in the same folder."""

    path: str
    project: str

    @property
    def _scratch(self) -> Path:
        return Path(self.path).resolve().parent / "dbt"

    def published(self, digest: str) -> list[Node] | None:
        """dbt's results for the published file, if it was built from exactly these inputs.

        The file's table `publication` holds the digest of its inputs.
        """
        results = self._scratch / _RESULTS
        if not (Path(self.path).exists() and results.exists()):
            return None
        try:
            stored = query(self.path, "select distinct inputs_digest from publication")
        except WarehouseError:
            return None  # broken, or of an older layout: publishing replaces it
        publication = json.loads(results.read_text())
        if stored.rows != [(digest,)] or publication["digest"] != digest:
            return None
        return [Node(**node) for node in publication["nodes"]]

    def publish(
        self, relations: Iterable[Relation], manifests: Mapping[str, pa.Table], *, digest: str
    ) -> list[Node]:
        """Build and test every model in a new file, and replace the published file by it.

        `digest`: of the inputs. `manifests`: small tables that the project reads as source
        `manifests`. Raises PublishingError, and publishes nothing, if a model or test fails.
        Publishers lock each other out; readers never wait.
        """
        target = Path(self.path).resolve()
        scratch = self._scratch
        building = scratch / "building"
        with _publisher_lock(scratch):
            # Remove what a killed publisher left.
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
            is_remote = write_catalog(building / "catalog.duckdb", relations, manifests)
            nodes = _build_models(self.project, scratch, target="s3" if is_remote else "local")
            replace_file(building / "warehouse.duckdb", target)
            publication = {"digest": digest, "nodes": [asdict(node) for node in nodes]}
            (scratch / _RESULTS).write_text(json.dumps(publication))
            shutil.rmtree(building)
        return nodes

    def share(self, lake: str, *, recipe: str, digest: str) -> Version | None:
        """Upload the published file, whose inputs have this digest, as the lake's current version.

        Only to an object store: a lake in a folder has its readers on this machine.
        """
        if "://" not in lake:
            return None
        with _publisher_lock(self._scratch):  # the file must not be replaced meanwhile
            folder = folder_of(lake, recipe)
            return put_version(Path(self.path), folder, inputs_digest=digest)


def replace_file(fresh: Path, target: Path) -> None:
    """Replace the published file by a closed database; open readers keep the former file."""
    if (leftover := Path(f"{fresh}.wal")).exists():
        raise RuntimeError(f"{leftover} exists: the database was not closed")
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.replace(target)


def _build_models(project: str, scratch: Path, *, target: str) -> list[Node]:
    results = scratch / "target" / "run_results.json"
    results.unlink(missing_ok=True)
    output = _run_dbt(
        "build",
        "--exclude-resource-type=exposure",
        project=project,
        scratch=scratch,
        target=target,
    )
    if not results.exists():
        raise PublishingError(f"dbt did not start:\n{output}", [])
    nodes = [
        Node(
            unique_id=entry["unique_id"],
            status=entry["status"],
            message=entry["message"] or "",
            failures=entry["failures"] or 0,
            seconds=entry["execution_time"],
        )
        for entry in json.loads(results.read_text())["results"]
    ]
    bad = [node for node in nodes if not node.is_good]
    if bad:
        messages = "\n".join(f"{node.unique_id}: {node.message}" for node in bad if node.message)
        raise PublishingError(
            f"nothing is published, the former tables stay; dbt says:\n{messages}", nodes
        )
    return nodes


def _run_dbt(*command: str, project: str, scratch: Path, target: str) -> str:
    """Run dbt in its own process, offline and without telemetry; return its output."""
    # In a separate process: its DuckDB is closed and its memory freed at its end, and its global
    # state is not Dagster's. The environment is the same for every command, because dbt parses
    # the whole project again when it changes. `--quiet`: log lines per node take a tenth of the
    # time and repeat the results. No garbage collection: it takes another tenth.
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import gc; gc.disable(); from dbt.cli.main import cli; cli()",
            "--quiet",
            "--log-level-file",
            "none",
            "--log-path",
            str(scratch / "logs"),
            *command,
            "--project-dir",
            project,
            "--profiles-dir",
            project,
            "--target",
            target,
            "--target-path",
            str(scratch / "target"),
        ],
        env={**os.environ, "DO_NOT_TRACK": "1", "SNOW_DBT_FOLDER": str(scratch / "building")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def project_digest(project: str) -> str:
    """sha256 over the .sql and .yml files of a dbt project."""
    content = hashlib.sha256()
    for path in sorted(Path(project).rglob("*")):
        if path.is_file() and path.suffix in (".sql", ".yml"):
            content.update(f"{path.relative_to(project).as_posix()}\0".encode())
            content.update(path.read_bytes() + b"\0")
    return content.hexdigest()


def prepared_manifest(project: str, scratch: Path) -> dict[str, Any]:
    """dbt's manifest of the project, cached by the digest of its files.

    `scratch`: the folder `dbt` next to the warehouse, so that the first build need not parse again.
    """
    cached = scratch.resolve() / f"manifest-{project_digest(project)[:32]}.json"
    if not cached.exists():
        with _publisher_lock(cached.parent):
            if not cached.exists():  # another process may have written it meanwhile
                _parse(project, cached)
    manifest: dict[str, Any] = json.loads(cached.read_text())
    return manifest


def _parse(project: str, cached: Path) -> None:
    parsed = cached.parent / "target" / "manifest.json"
    parsed.unlink(missing_ok=True)
    output = _run_dbt("parse", project=project, scratch=cached.parent, target="local")
    if not parsed.exists():
        raise RuntimeError(f"dbt cannot parse {project}:\n{output}")
    for former in cached.parent.glob("manifest-*.json"):
        former.unlink()
    parsed.replace(cached)


def write_catalog(
    path: Path, relations: Iterable[Relation], manifests: Mapping[str, pa.Table]
) -> bool:
    """Write a DuckDB file of views over the lake's files: schema = source, view = table.

    The number of files is unlimited, as none is on a command line. Returns whether some files are
    in an object store.
    """
    import duckdb

    is_remote = False
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema manifests")
        for name, rows in manifests.items():
            connection.register("rows", rows)
            connection.execute(f"create table manifests.{quoted(name)} as select * from rows")
        for name, table, schema, parts in relations:
            if not is_remote and any("://" in url for *_, files in parts for url in files):
                is_remote = True
                connection.register_filesystem(fsspec.filesystem("s3"))
            connection.execute(f"create schema if not exists {quoted(name)}")
            view = _view(connection, schema, parts)
            connection.execute(f"create view {quoted(name)}.{quoted(table)} as {view}")
    return is_remote


def _view(
    connection: duckdb.DuckDBPyConnection,
    schema: pa.Schema,
    parts: Sequence[RecipeFiles],
) -> str:
    connection.register("empty", schema.empty_table())
    kinds = connection.execute("describe select * from empty").fetchall()
    columns = ", ".join(quoted(str(row[0])) for row in kinds)
    typed = ", ".join(f"cast(null as {row[1]}) as {quoted(str(row[0]))}" for row in kinds)
    lake_columns = (
        "cast(null as varchar) as asset, cast(null as varchar) as partition,"
        " cast(null as varchar) as fingerprint,"
        " cast(null as varchar) as recipe, cast(null as boolean) as is_current"
    )
    source = f"select {typed}, {lake_columns} where false"
    for recipe, is_current, files in parts:
        # By name, after the typed columns: a column missing in a file of older code is null.
        # A file's URL ends in asset/partition/fingerprint/name.
        urls = ", ".join(literal(url) for url in files)
        source += (
            " union all by name select *, string_split(filename, '/')[-4] as asset,"
            " string_split(filename, '/')[-3] as partition,"
            f" string_split(filename, '/')[-2] as fingerprint, {literal(recipe)} as recipe,"
            f" {str(is_current).lower()} as is_current"
            f" from read_parquet([{urls}], union_by_name = true, filename = true)"
        )
    return f"select recipe, {columns}, asset, partition, fingerprint, is_current from ({source})"


def quoted(name: str) -> str:
    """Quote a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _publisher_lock(scratch: Path) -> Iterator[None]:
    waiting = "Another process builds or shares the published tables; waiting for it"
    with exclusive(scratch / ".lock", waiting=waiting, warn=_LOGGER.warning):
        yield
