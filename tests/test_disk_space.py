"""A full disk is recognised and told with what is needed and what is kept."""

import errno
from pathlib import Path

import pytest

from snow_assets.storage.disk_space import full_disk_message, is_disk_full


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/a"), True),
        (OSError(errno.EDQUOT, "quota"), True),
        ("sqlite3.OperationalError: database or disk is full", True),
        ("IO Error: Could not write file: No space left on device", True),
        (OSError(errno.EACCES, "Permission denied"), False),
        ("ValueError: the list is full of lines", False),
    ],
)
def test_a_full_disk_is_recognised_in_errors_of_all_stores(
    error: BaseException | str, is_full: bool
) -> None:
    assert is_disk_full(error) is is_full


def test_the_message_names_the_disk_the_need_and_that_work_is_kept(tmp_path: Path) -> None:
    message = full_disk_message(tmp_path / "not" / "there", 25_000_000)
    assert message.startswith(f"The disk of {tmp_path} is full")
    assert "about 25 MB" in message
    assert "Finished work is kept" in message
    assert "an unknown amount" in full_disk_message(tmp_path, None)
