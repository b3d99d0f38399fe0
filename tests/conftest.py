"""What tests of several rooms share."""

from pathlib import Path

import pytest

from tests.s3 import s3_lake_url, s3_server

__all__ = ["s3_lake_url", "s3_server"]

_LONGEST = ("whole", "test_s3.py", "synthesis", "pretraining", "quality")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A room's tests share a worker, as they share fixtures; the longest rooms start first."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_room(item)))
    items.sort(
        key=lambda item: _LONGEST.index(_room(item)) if _room(item) in _LONGEST else len(_LONGEST)
    )


def _room(item: pytest.Item) -> str:
    *folders, file = item.path.relative_to(Path(__file__).parent).parts
    alone = folders == ["whole"] and file == "test_s3.py"  # it makes a graph of its own
    return file if alone or not folders else folders[0]


@pytest.fixture
def lake_url(tmp_path: Path) -> str:
    """An empty lake on a local folder."""
    return str(tmp_path / "lake")
