"""A program of another language than Python, compiled and run by commands in one process group.

It includes its tests. All commands inherit the confinement of this process.
"""

import os
import signal
from typing import NoReturn

_PATH = "/usr/local/bin:/usr/bin:/bin"
_FIRST_SIGNAL_STATUS = 128  # as shells report a signal
TERMINATION = signal.SIGTERM


def kill_group_on_termination() -> None:
    """Make TERMINATION, which this process gets when the supervisor ends, kill its whole group."""
    signal.signal(TERMINATION, lambda *_: os.kill(0, signal.SIGKILL))


def reap_orphans(leader: int) -> None:
    """Reap the children of this process that have ended, but `leader`.

    They are processes whose parent ended before them, and count toward the limit on tasks until
    they are reaped.
    """
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while (ended := os.waitid(os.P_ALL, 0, options)) and ended.si_pid != leader:
        os.waitpid(ended.si_pid, 0)


def run(program: str, file_name: str, commands: tuple[tuple[str, ...], ...]) -> NoReturn:
    """Write `program` to `file_name` in the working folder and run the commands, each if the one
    before it exited with 0; exit with the last one's status.

    A command `./NAME` runs a file that an earlier one wrote. The sandbox allows no change of modes,
    so a copy of it is made executable.
    """
    with open(file_name, "w", encoding="utf-8", errors="surrogatepass") as file:
        file.write(program)
    # Node.js ends if it finds a configuration of OpenSSL that it cannot read.
    environment = {**os.environ, "PATH": _PATH, "LANG": "C.UTF-8", "OPENSSL_CONF": "/dev/null"}
    for command in commands:
        executable = command[0]
        if executable.startswith("./"):
            executable = _executable_copy(executable)
        child = os.posix_spawn(executable, command, environment)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            os.write(1, f"{command[0]} ended with {status}\n".encode())
            os._exit(status if status > 0 else _FIRST_SIGNAL_STATUS - status)
    os._exit(0)


def _executable_copy(path: str) -> str:
    copy = f"{path}.executable"
    target = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
    with open(path, "rb") as source, open(target, "wb") as file:
        while chunk := source.read(1 << 20):
            file.write(chunk)
    return copy
