"""Processes of local jobs, forked from one that has imported their modules.

Importing vLLM, transformers or OLMo-core takes 8 to 13 CPU seconds, for work of a few seconds in a
small recipe. Each thread that runs jobs has a server for each interpreter
(`snow_assets/runtime/fork_server.py`), which ends with the thread.
"""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from snow_resources.local_job_lease import PARENT_VARIABLE, Lease, process_name

_SERVER = "snow_assets.runtime.fork_server"

_thread = threading.local()


@dataclass(kw_only=True)
class ForkedProcess:
    """A job's process; its methods are those of `subprocess.Popen`."""

    pid: int
    _server: "ForkServer"
    _connection: socket.socket
    _returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal: SIGKILL, too, if the server was killed.

        subprocess.TimeoutExpired after `timeout` seconds.
        """
        if self._returncode is None:
            self._connection.settimeout(timeout)
            try:
                line = _read_line(self._connection)
            except TimeoutError:
                raise subprocess.TimeoutExpired([_SERVER], timeout or 0.0) from None
            if not line:
                self._server.close()  # it was killed, and may not have ended yet
            self._returncode = int(line) if line else -signal.SIGKILL
            self._connection.close()
        return self._returncode

    def poll(self) -> int | None:
        try:
            return self.wait(timeout=0.001)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self) -> None:
        self._send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._send_signal(signal.SIGKILL)

    def _send_signal(self, signal_number: signal.Signals) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal_number)


@dataclass(kw_only=True)
class ForkServer:
    """A running server; `environment` and working directory are those of its start."""

    interpreter: str
    environment: Mapping[str, str]
    working_dir: Path = field(default_factory=Path.cwd)

    def __post_init__(self) -> None:
        self._control, served = socket.socketpair()
        with served:
            self._process = subprocess.Popen(
                [self.interpreter, "-m", _SERVER, str(served.fileno())],
                env={**self.environment, PARENT_VARIABLE: str(os.getpid())},
                cwd=self.working_dir,
                pass_fds=(served.fileno(),),
                stdin=subprocess.DEVNULL,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: IO[bytes],
        lease: Lease,
    ) -> ForkedProcess:
        """Start a job as soon as the server has imported its module; `environment` is what the
        job's process has beside the server's."""
        connection, served = socket.socketpair()
        job = {
            "module": module,
            "arguments": list(arguments),
            "environment": dict(environment),
            "name": process_name(lease.key),
        }
        try:
            with served, suppress(BrokenPipeError, ConnectionResetError):
                descriptors = [served.fileno(), log.fileno(), lease.descriptor]
                socket.send_fds(self._control, [b"j"], descriptors)
                connection.sendall(json.dumps(job).encode())
                connection.shutdown(socket.SHUT_WR)
            line = _read_line(connection)
        except BaseException:
            self.close()  # cancelled: nothing may start later
            raise
        if not line:
            self.close()
            raise ChildProcessError(
                f"{self.interpreter} -m {_SERVER} ended before it began {module}"
            )
        return ForkedProcess(pid=int(line), _server=self, _connection=connection)

    def close(self) -> None:
        """End the server, and with it the jobs that it started."""
        self._control.close()
        self._process.terminate()
        self._process.wait()


def fork_server(interpreter: str, environment: Mapping[str, str]) -> ForkServer:
    """This thread's server of an interpreter; a new one if the environment has changed."""
    servers: dict[str, ForkServer] = _thread.__dict__.setdefault("servers", {})
    server = servers.get(interpreter)
    if server is not None:
        current = (environment, Path.cwd())
        if server.is_running and (server.environment, server.working_dir) == current:
            return server
        server.close()
    servers[interpreter] = ForkServer(interpreter=interpreter, environment=dict(environment))
    return servers[interpreter]


def can_fork() -> bool:
    """Whether jobs can be forked here: CUDA does not survive it."""
    return not Path("/dev/nvidiactl").exists()


def _read_line(connection: socket.socket) -> bytes:
    """A line of a few bytes, which arrives whole, and nothing of the next; empty at the end."""
    line = b""
    while not line.endswith(b"\n") and (byte := connection.recv(1)):
        line += byte
    return line
