"""What tests of several rooms share."""

from pathlib import Path

import pytest


@pytest.fixture
def lake_url(tmp_path: Path) -> str:
    """An empty lake on a local folder."""
    return str(tmp_path / "lake")
