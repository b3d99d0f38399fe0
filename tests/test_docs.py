"""Docs name what is there."""

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
DOCS = sorted([CHECKOUT / "README.md", *(CHECKOUT / "docs").rglob("*.md")])
ROOTS = (
    "snow_assets",
    "snow_resources",
    "k8s",
    "dbt_like_sql",
    "tests",
    "docs",
    "benchmarks",
    ".ci",
)


def named_paths(text: str) -> set[str]:
    """Paths in code spans and links that begin with one of the checkout's folders."""
    spans = re.findall(r"`([^`\s]+)`", text) + re.findall(r"\]\(([^)\s#]+)", text)
    return {span.rstrip("/.,") for span in spans if span.startswith(tuple(f"{r}/" for r in ROOTS))}


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: doc.name)
def test_every_path_that_a_document_names_exists(doc: Path) -> None:
    missing = sorted(
        name for name in named_paths(doc.read_text()) if not (CHECKOUT / name).exists()
    )
    assert missing == []


def test_a_missing_path_would_be_found() -> None:
    assert named_paths("see `snow_assets/nowhere.py` and [x](docs/no.md)") == {
        "snow_assets/nowhere.py",
        "docs/no.md",
    }
