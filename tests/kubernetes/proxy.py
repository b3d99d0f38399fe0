"""An API server that fails on demand: a plain proxy before the real one."""

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3
import yaml
from kubernetes import client, config


@dataclass
class Proxy:
    """`mode`: pass, unavailable (503) or drop (no answer, the connection closes)."""

    kubeconfig: str
    mode: str = "pass"
    num_calls: int = 0
    num_failed: int = 0


@contextmanager
def proxied(folder: Path) -> Iterator[Proxy]:
    """A proxy on a free port, and a kubeconfig that leads there."""
    real = client.Configuration()
    config.load_kube_config(client_configuration=real)
    upstream = urllib3.PoolManager(
        cert_file=real.cert_file, key_file=real.key_file, ca_certs=real.ssl_ca_cert
    )
    proxy = Proxy(kubeconfig=str(folder / "kubeconfig"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def _any(self) -> None:
            proxy.num_calls += 1
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if proxy.mode == "drop":
                proxy.num_failed += 1
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if proxy.mode == "unavailable":
                proxy.num_failed += 1
                self.send_error(503)
                return
            kept = {
                name: value
                for name, value in self.headers.items()
                if name in ("Accept", "Content-Type")
            }
            answer = upstream.request(
                self.command, f"{real.host}{self.path}", body=body, headers=kept
            )
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.data)))
            self.end_headers()
            self.wfile.write(answer.data)

        do_GET = do_POST = do_PATCH = do_DELETE = _any  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    Path(proxy.kubeconfig).write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "proxy", "cluster": {"server": url}}],
                "users": [{"name": "nobody", "user": {}}],
                "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}],
                "current-context": "proxy",
            }
        )
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
