"""What tests of several folders share, and how they are distributed over workers."""

from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.s3 import s3_lake_url, s3_server

__all__ = ["s3_lake_url", "s3_server"]

# A worker takes the next group when two tests are left.
_FIRST = (
    "whole",
    "kubernetes",
    "test_kills.py",
    "test_experiment.py",
    "test_cluster.py",
    "corpus",
    "synthesis",
    "pretraining",
    "quality",
)
_ALONE = ("test_cluster.py", "test_experiment.py", "test_kills.py")


def _group(nodeid: str) -> str:
    """The folder of a test; a file where it stands alone, or makes a graph of its own."""
    _, *folders, file = PurePosixPath(nodeid.split("::")[0]).parts
    alone = folders == ["whole"] and file in _ALONE
    return file if alone or not folders else folders[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest groups start first, beside those that mostly wait."""
    order = {group: position for position, group in enumerate(_FIRST)}
    items.sort(key=lambda item: order.get(_group(item.nodeid), len(_FIRST)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A group's tests share a worker, as they share fixtures.

    xdist's own groups (3.8) do nothing under pytest 9.2, which keeps node ids elsewhere.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return Groups(config, log)


@pytest.fixture
def lake_url(tmp_path: Path) -> str:
    """An empty lake on a local folder."""
    return str(tmp_path / "lake")
