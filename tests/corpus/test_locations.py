"""A source's location that cannot be asked is named, with what to do."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs

from snow_assets.corpus.locations import list_files


@pytest.fixture
def _no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    # A client stays for the next that asks, with the credentials that it was made with.
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.usefixtures("_no_credentials")
def test_a_store_without_credentials_is_named() -> None:
    told = r"'s3://nobody/knows' cannot be read \(NoCredentialsError: .*: correct the URL, or give"
    with pytest.raises(OSError, match=told):
        list_files(["s3://nobody/knows"], (".parquet",))


def test_a_location_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'.*/nowhere' is not there: correct the recipe"):
        list_files([str(tmp_path / "nowhere")], (".parquet",))
