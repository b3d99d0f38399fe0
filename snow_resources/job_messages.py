"""The telephone from a job's pods: their messages, read from the attempt's folder as they appear.

Each start of a pod writes files of its own (`snow_assets/pod.py`), so nothing is overwritten, and
a run that adopts a job reads what was said before it came.
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
    """Reads the messages of all pods of an attempt; one that was read is not read again."""

    def __init__(self, job: Job, attempt: int) -> None:
        self._job, self._attempt = job, attempt
        self._read: set[str] = set()
        self._has_opened = self._has_closed = False

    @contextmanager
    def read_messages(self, handler: Any) -> Iterator[dict[str, Any]]:
        is_over = threading.Event()

        def follow() -> None:
            while not is_over.wait(_POLL_SECONDS):
                self._pass_on(handler)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield {"folder": posixpath.join(self._job.folder(self._attempt), MESSAGES)}
        finally:
            is_over.set()
            thread.join()
            self._pass_on(handler)
            if self._has_closed:
                handler.handle_message({"method": "closed", "params": {}})

    def _pass_on(self, handler: Any) -> None:
        for name in self._job.names(self._attempt, MESSAGES):
            if name in self._read:
                continue
            self._read.add(name)
            content = self._job.get(self._attempt, f"{MESSAGES}/{name}").decode()
            for message in map(json.loads, content.splitlines()):
                # Many writers, one session: it opens with the first and closes when we do.
                if message["method"] == "closed":
                    self._has_closed = True
                elif message["method"] != "opened" or not self._has_opened:
                    self._has_opened = self._has_opened or message["method"] == "opened"
                    handler.handle_message(message)

    def no_messages_debug_text(self) -> str:
        return f"Looked for messages in {self._job.folder(self._attempt)}/{MESSAGES}."
