"""The repository and version in an archive's name, and the opt-out list."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snow_assets.corpus.ingest import ingest
from snow_assets.corpus.repository_names import parse_repository
from snow_assets.corpus.source_rows import Gate
from tests.corpus.builders import a_recipe, a_source, a_tar, a_zip
from tests.corpus.test_archives import GOOD, a_plain_tar, read


@pytest.mark.parametrize(
    ("name", "repository", "revision"),
    [
        ("foo-1.2.tar.gz", "foo", "1.2"),
        ("foo_bar-1.2rc1.tar.gz", "foo_bar", "1.2rc1"),
        ("left-pad-1.3.0.tgz", "left-pad", "1.3.0"),
        ("foo-v2.0.1-beta.3.zip", "foo", "2.0.1-beta.3"),
        ("foo-1.0-py3-none-any.whl", "foo", "1.0"),
        ("foo_1.2.3.orig.tar.xz", "foo", "1.2.3.orig"),
        ("log4j-1.2-api-2.17.0.tgz", "log4j-1.2-api", "2.17.0"),
        ("angular-2-storage-master.zip", "angular-2-storage", "master"),
        ("angular-2-storage-1.4.0.zip", "angular-2-storage", "1.4.0"),
        ("angular-2.zip", "angular-2", None),
        ("python-3-patterns.zip", "python-3-patterns", None),
        ("foo-0123abc.zip", "foo", "0123abc"),
        ("foo-decade.zip", "foo-decade", None),
        ("foo-20240131.tgz", "foo", "20240131"),
    ],
)
def test_a_version_is_split_off_only_if_it_looks_like_one(
    name: str, repository: str, revision: str | None, tmp_path: Path
) -> None:
    make = a_zip if name.endswith(("zip", "whl")) else a_tar
    path = make(tmp_path / "made.zip", [("a.py", GOOD)])
    path.rename(tmp_path / name)
    files, _ = read(tmp_path / name)
    (file,) = files.values()
    assert file.repository == repository
    assert file.revision == revision or (revision is None and file.revision.startswith("sha256-"))


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("angular-2-storage-master.tar", "angular-2-storage"),
        ("angular-2-storage-master.tar", "someone/angular-2-storage"),
        ("angular-2-storage-1.0.tar", "angular_2.storage"),
        ("angular-2.tar", "angular"),
        ("angular-2.tar", "angular-2"),
        ("foo-1.2-beta.tar", "foo"),
        ("foo-release-2024.tar", "foo"),
        ("foo_1.2.tar", "foo"),
        ("owner-foo-0123abc.tar", "owner/foo"),
        ("owner-foo-0123abc.tar", "owner/*"),
        ("scope-foo-1.0.0.tar", "@scope/foo"),
        ("foo-1.0.tar", "in-its-manifest"),
        ("foo-1.0.tar", "owner/in-its-address"),
        ("foo-my-branch.tar", "foo"),
    ],
)
def test_every_reading_of_a_name_is_compared_with_the_opt_out_list(
    name: str, entry: str, tmp_path: Path
) -> None:
    path = a_plain_tar(tmp_path / name, ["a.py"], comment=COMMIT if "branch" in name else "")
    if "its" in entry:
        manifest = b'[project]\nname = "in-its-manifest"\n[project.urls]\nSource = '
        manifest += b'"https://github.com/owner/in-its-address"\n'
        a_tar(tmp_path / "foo-1.0.tar.gz", [("a.py", GOOD), ("pyproject.toml", manifest)])
        path.unlink()
        path = tmp_path / "foo-1.0.tar.gz"
    assert reasons_under(entry, path, tmp_path) == {"opted_out": 1}


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("angular-4-tables-main.tar", "angular-2-storage"),
        ("react-router-5.0.tar", "react"),
        ("react-router-5.0.tar", "someone/router"),
        ("requests-toolbelt-1.0.tar", "requests"),
        ("masterful-foo.tar", "masterful"),
    ],
)
def test_a_repository_that_only_begins_alike_is_not_opted_out(
    name: str, entry: str, tmp_path: Path
) -> None:
    path = a_plain_tar(tmp_path / name, ["a.py"])
    assert "opted_out" not in reasons_under(entry, path, tmp_path)


def test_a_repository_that_the_recipe_states_is_the_only_reading(tmp_path: Path) -> None:
    path = a_plain_tar(tmp_path / "angular-2-storage-master.tar", ["a.py"])
    stated = {"repositories": ("owner/other",)}
    assert reasons_under("angular-2-storage", path, tmp_path, **stated) == {"license_unknown": 1}
    assert reasons_under("owner/other", path, tmp_path, **stated) == {"opted_out": 1}
    with pytest.raises(ValueError, match="state one for each"):
        reasons_under("x", path, tmp_path, repositories=("a", "b"))


def reasons_under(entry: str, path: Path, folder: Path, **fields: Any) -> dict[str, int]:
    """Reasons of the drops of one archive whose opt-out list has one entry."""
    source = replace(a_source(path, kind="archives"), **fields)
    gate = Gate(opted_out=frozenset({parse_repository(entry)}), exemplars=frozenset())
    out = tempfile.mkdtemp(dir=folder)
    stats = ingest(out, source, recipe=a_recipe(source), languages=("python",), gate=gate)
    reasons: dict[str, int] = stats["reasons"]
    return reasons
