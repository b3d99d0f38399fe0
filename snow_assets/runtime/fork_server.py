"""A process that imports the modules of local jobs once, and forks for each job.

`python -m snow_assets.runtime.fork_server DESCRIPTOR` serves the socket that
`snow_resources/fork_client.py` holds the other end of, until that is closed. The client sends a
job's own socket, log and lease over it, and over the job's socket what to run; back come the
process's pid and, once it has ended, its exit code. The first job of a module pays its imports.

A module's `preload()` imports what its work imports later. Modules are only imported here: a fork
has no GPU of its parent and none of its threads. Those that imports start are OpenBLAS's and
jemalloc's, which start them again, and polars' cleaner of spilled files, which no job needs.
"""

import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import socket
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from snow_assets.runtime import worker

_PR_SET_NAME = 15  # linux/prctl.h


@dataclass(frozen=True, kw_only=True)
class JobProcess:
    """What a forked process runs, as `python -m MODULE ARGUMENTS` would."""

    module: str
    arguments: list[str]
    environment: dict[str, str]  # beside the server's
    name: str  # of the process, as in /proc/PID/comm: 15 bytes


def serve(control: socket.socket) -> JobProcess | None:
    """Fork for each job that arrives; None once the socket is closed. In a fork: its job, or the
    exception of importing its module."""
    connections: dict[int, tuple[int, socket.socket]] = {}  # pid and job's socket, by pidfd
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not control:
                    selector.unregister(key.fd)
                    _report_end(key.fd, *connections.pop(key.fd))
                    continue
                message, descriptors, _, _ = socket.recv_fds(control, 1, 3)
                if not message:
                    return None
                connection, log, lease = socket.socket(fileno=descriptors[0]), *descriptors[1:]
                job = _read_job(connection)
                _redirect_output(log)
                error = _preload(job.module)
                pid = os.fork()
                if pid == 0:
                    _close([control, connection], connections)
                    _enter(job)
                    if error is not None:
                        raise error
                    return job
                os.close(lease)  # the job holds it
                pidfd = os.pidfd_open(pid)
                connections[pidfd] = pid, connection
                selector.register(pidfd, selectors.EVENT_READ)
                _send(connection, f"{pid}\n")


def _close(
    sockets: Iterable[socket.socket], connections: Mapping[int, tuple[int, socket.socket]]
) -> None:
    """Close the server's descriptors in a fork: a socket is closed when nobody holds it."""
    for pidfd, (_, connection) in connections.items():
        os.close(pidfd)
        connection.close()
    for connection in sockets:
        connection.close()


def _read_job(connection: socket.socket) -> JobProcess:
    with connection.makefile("rb") as stream:
        return JobProcess(**json.loads(stream.read()))


def _redirect_output(log: int) -> None:
    """Append to a job's log from now on: also what importing its module prints."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _preload(module: str) -> Exception | None:
    """Import a job's module and what it uses; return what that raises, for the job to raise."""
    try:
        preload = getattr(importlib.import_module(module), "preload", None)
        if preload is not None:
            preload()
    except Exception as error:  # noqa: BLE001  raised in the fork: it ends the job, not the server
        return error
    gc.collect()
    gc.freeze()  # no collection of a fork writes to the pages of these objects
    return None


def _enter(job: JobProcess) -> None:
    """Make this fork the job's process."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, job.name.encode(), 0, 0, 0)
    os.environ.update(job.environment)
    os.environ[worker.PARENT_VARIABLE] = str(os.getppid())
    tempfile.tempdir = None  # TMPDIR is the job's own
    sys.argv = [job.module, *job.arguments]
    sys.modules.pop(job.module, None)  # it runs as __main__


def _report_end(pidfd: int, pid: int, connection: socket.socket) -> None:
    os.close(pidfd)
    _, status = os.waitpid(pid, 0)
    _send(connection, f"{os.waitstatus_to_exitcode(status)}\n")
    connection.close()


def _send(connection: socket.socket, line: str) -> None:
    with suppress(BrokenPipeError):  # its run was cancelled
        connection.sendall(line.encode())


def main(descriptor: int) -> None:
    worker.end_with_parent()  # ends with the process that started it, and a job with this one
    job = serve(socket.socket(fileno=descriptor))
    if job is not None:
        runpy.run_module(job.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
