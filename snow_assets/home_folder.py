"""Where an installation keeps its files; apart from `home.py`, so that recipes can name it."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def home() -> Path:
    """`SNOW_HOME`, or `.snow` in the checkout."""
    return Path(os.environ.get("SNOW_HOME", CHECKOUT / ".snow"))


def archives_folder() -> Path:
    """What `make archives` fetches, a folder a group."""
    return home() / "archives"
