"""What tests of several rooms share."""

from pathlib import Path

import pytest

from tests.s3 import s3_lake_url, s3_server

__all__ = ["s3_lake_url", "s3_server"]


@pytest.fixture
def lake_url(tmp_path: Path) -> str:
    """An empty lake on a local folder."""
    return str(tmp_path / "lake")
