"""An OpenAI-compatible server of a few lines: it answers with a file that names its request.

`stall_after` requests are answered at once; later ones wait, as a slow teacher's would.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Stub:
    url: str = ""
    stall_after: int | None = None
    reports_usage: bool = True
    loses_connections: bool = False  # once it has generated a completion
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Status and headers of the next responses, which hold no completion."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    _closing: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Status, headers and content."""
        with self._lock:
            self.asked.append(body)
            number = len(self.asked)
            failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            status, headers = failure
            return status, {"retry-after": "0", **headers}, {"error": {"message": "no completion"}}
        if self.stall_after is not None and number > self.stall_after:
            self.stalled.set()
            self._closing.wait(60)
        if "TOO LONG" in body["messages"][-1]["content"]:
            return 400, {}, {"error": {"message": "maximum context length is 1024 tokens"}}
        text = f"```python\nanswer_{body['seed']} = {body['seed']}\n```"
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
        completion = {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [choice],
            **({"usage": usage} if self.reports_usage else {}),
        }
        return 200, {}, completion

    def close(self) -> None:
        self._closing.set()


@contextmanager
def serving(*, stall_after: int | None = None) -> Iterator[Stub]:
    """A stub on a free port of this machine."""
    stub = Stub(stall_after=stall_after)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers, answer = stub.answer(body)
            content = json.dumps(answer).encode()
            if stub.loses_connections:
                return
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except BrokenPipeError:
                return  # the client was killed, as the test wants

        def log_message(self, *args: Any) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield stub
    finally:
        stub.close()
        server.shutdown()
        server.server_close()
