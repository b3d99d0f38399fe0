"""Dagster Pipes messages of a job's pods, polled from the attempt's folder.

Each start of a pod writes files of its own (`snow_assets/runtime/worker.py`), so nothing is
overwritten, and a run that adopts a job reads the earlier messages too.
"""

import json
import posixpath
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from snow_resources.gpu_jobs import Job

MESSAGES = "messages"
_POLL_SECONDS = 2.0


class FolderMessageReader(dg.PipesMessageReader):
    """Reads the messages of all pods of an attempt, each file once."""

    def __init__(self, job: Job, attempt: int) -> None:
        self._job, self._attempt = job, attempt
        self._read: set[str] = set()
        self._has_opened = self._has_closed = False

    @contextmanager
    def read_messages(self, handler: Any) -> Iterator[dict[str, Any]]:
        is_over = threading.Event()

        def follow() -> None:
            while not is_over.wait(_POLL_SECONDS):
                self._forward(handler)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield {"folder": posixpath.join(self._job.folder(self._attempt), MESSAGES)}
        finally:
            is_over.set()
            thread.join()
            self._forward(handler)
            if self._has_closed:
                handler.handle_message({"method": "closed", "params": {}})

    def _forward(self, handler: Any) -> None:
        for name in self._job.names(self._attempt, MESSAGES):
            if name in self._read:
                continue
            self._read.add(name)
            content = self._job.get(self._attempt, f"{MESSAGES}/{name}").decode()
            for message in map(json.loads, content.splitlines()):
                # Many writers, one session: the first `opened` is forwarded, `closed` at the end.
                if message["method"] == "closed":
                    self._has_closed = True
                elif message["method"] != "opened" or not self._has_opened:
                    self._has_opened = self._has_opened or message["method"] == "opened"
                    handler.handle_message(message)

    def no_messages_debug_text(self) -> str:
        return f"Looked for messages in {self._job.folder(self._attempt)}/{MESSAGES}."
