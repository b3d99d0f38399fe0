import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from snow_assets.curation.document_shards import document_shards
from snow_assets.curation.prepare import prepare, prepare_shard
from snow_assets.storage import shards
from snow_assets.storage.ids import text_id
from snow_assets.storage.schemas.corpus import RAW_FILE
from tests.curation.builders import a_file, a_program, documents, raw_corpus

LANGUAGES = ("c", "python")


def of_one(
    content: bytes, path: str, languages: Sequence[str] = LANGUAGES
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    received = pa.Table.from_pylist([a_file(path, content)], schema=RAW_FILE)
    made = prepare_shard(received, languages=languages, with_parses=False)
    return made.documents.to_pylist(), made.drops.to_pylist()


def document(content: bytes, path: str, languages: Sequence[str] = LANGUAGES) -> dict[str, Any]:
    (made,), drops = of_one(content, path, languages)
    assert not drops
    return made


def reason(content: bytes, path: str = "a.py") -> tuple[str, str | None]:
    documents, (drop,) = of_one(content, path)
    assert not documents
    return drop["reason"], drop["language"]


def test_what_is_no_text_or_not_asked_for_is_refused_with_its_reason() -> None:
    assert reason(b"x = '\xff'\n") == ("invalid_utf8", None)
    assert reason(b"x = 1\0\n") == ("nul_bytes", None)
    assert reason(b" \n\t\n") == ("empty", None)
    assert reason(b"words", "a.nobody_knows") == ("unknown_language", None)
    assert reason(b"x = 1;", "a.js") == ("language_not_in_recipe", "javascript")
    assert reason(b"{", "a.ipynb") == ("invalid_notebook", "python")


def test_text_is_redacted_before_it_is_named_and_measured() -> None:
    made = document(b"\xef\xbb\xbfMAIL = 'jo@gmx.de'\n", "a.py")
    assert made["text"] == "MAIL = '<EMAIL>'\n"
    assert made["text_id"] == text_id(made["text"])
    assert made["num_bytes"] == len(made["text"])
    assert made["num_redacted_emails"] == 1


def test_a_notebook_is_the_script_of_its_code() -> None:
    notebook = (
        b'{"nbformat": 4, "metadata": {"kernelspec": {"name": "python3"}},'
        b' "cells": [{"cell_type": "code", "source": ["x = 1"]}]}'
    )
    made = document(notebook, "a.ipynb", ("python",))
    assert (made["language"], made["text"]) == ("python", "x = 1\n")
    kept_apart = document(notebook, "a.ipynb", ("python", "jupyter"))
    assert kept_apart["language"] == "jupyter"


def test_every_file_becomes_a_document_or_a_drop(lake_url: str) -> None:
    files = [
        a_file("a.py", "x = 1\n"),
        a_file("b.c", "int x;\n"),
        a_file("c.py", b"\xff"),
        a_file("d.py", "y = 2\n"),
    ]
    made = documents(lake_url, raw_corpus(lake_url, files, per_shard=3))
    manifest = shards.manifest(made)
    assert manifest.num_rows("documents") == 3
    drops = shards.read(made, "drops").to_pylist()
    assert [(drop["path"], drop["reason"]) for drop in drops] == [("c.py", "invalid_utf8")]
    assert (manifest.stats["files"], manifest.stats["dropped_invalid_utf8"]) == (4, 1)
    assert all(
        set(one.read()["language"].to_pylist()) == {one.language} for one in document_shards([made])
    )


def test_a_source_without_files_is_a_finished_artifact_without_documents(lake_url: str) -> None:
    made = documents(lake_url, raw_corpus(lake_url, []))
    assert shards.manifest(made).num_rows("documents") == 0


def test_killed_in_the_middle_it_goes_on_and_makes_the_same_files(lake_url: str) -> None:
    files = [a_file(f"{n}.py", a_program(f"m{n}", functions=120)) for n in range(20)]
    raw = raw_corpus(lake_url, files, per_shard=1)
    whole, killed = f"{lake_url}/documents/src/whole", f"{lake_url}/documents/src/killed"
    stats = prepare(raw, whole, languages=LANGUAGES, with_parses=False)
    program = (
        "from snow_assets.curation.prepare import prepare\n"
        f"prepare({raw!r}, {killed!r}, languages={LANGUAGES!r}, with_parses=False)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + 300
    while len(shards.records(killed)) < 6:
        assert worker.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    done = {
        entry.name: Path(killed, entry.name).stat().st_mtime_ns
        for entry in shards.records(killed)
        if entry.name.startswith("drops")
    }
    assert 0 < len(done) < 20
    assert prepare(raw, killed, languages=LANGUAGES, with_parses=False) == stats
    assert shards.content_digest(shards.records(killed)) == shards.content_digest(
        shards.records(whole)
    )
    assert all(Path(killed, name).stat().st_mtime_ns == made for name, made in done.items())
