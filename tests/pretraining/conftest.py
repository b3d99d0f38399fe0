"""What tests of this folder share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tiny matrices on two threads mostly wait for each other."""
    torch.set_num_threads(1)
