"""The supervisor of one untrusted program; `sandbox.run` starts it in an interpreter of its own.

It gives up what it has (root, the host's namespaces) and forks twice: the judge, which reads the
test from standard input, and the program, which never holds it. Both shut themselves in. It
watches, ends both, and reports what it saw. Standard library only, and little of it: every program
pays for these imports.
"""

import os
import select
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from snow_assets.sandbox_child.confinement import (
    ENTRY_BYTES,
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    SIGKILL,
    Bounds,
    Refused,
    confine,
    file_rules,
    leave_root,
    library_folder,
    num_tasks_of,
    prctl,
    share_nothing,
)
from snow_assets.sandbox_child.judge import report_verdict
from snow_assets.sandbox_child.messages import (
    ENDED,
    PASSED,
    READY,
    STARTED,
    Report,
    Request,
    packed,
    read_frame,
    unpacked,
    write_frame,
)
from snow_assets.sandbox_child.program import serve

POLL_SECONDS = 0.05
READY_SECONDS = 45.0  # for both children to shut themselves in
REAP_SECONDS = 10.0
ENDING_SECONDS = 0.2  # a crash of the program is told from a stop, after the judge's verdict
MESSAGE_BYTES = 2000
MAX_REQUEST_BYTES = 1 << 30


class Channels(NamedTuple):
    """Pipes as (reading end, writing end)."""

    calls: tuple[int, int]  # from the judge to the program
    answers: tuple[int, int]  # back
    output: tuple[int, int]  # what the program prints
    verdict: tuple[int, int]  # from the judge to the supervisor
    judge_ready: tuple[int, int]
    program_ready: tuple[int, int]


class Setting(NamedTuple):
    """What both children need to shut themselves in."""

    request: Request
    bounds: Bounds
    ruleset: int
    library: int


def keep_only(*descriptors: int) -> None:
    """Close every descriptor above 2 but these."""
    low = 3
    for descriptor in sorted(descriptors):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, 1 << 16)


def replace_standard_streams(standard_input: int, output: int) -> None:
    for descriptor, end in enumerate((standard_input, output, output)):
        os.dup2(end, descriptor)


def reach_library(descriptor: int) -> None:
    """Where this user may not walk to the interpreter (/root/.pyenv), go through the open folder.

    Every package's own path is turned too, else `encodings` or `json` lose their submodules.
    """
    if os.access(os.__file__, os.R_OK):
        return
    old, new = library_folder(), f"/proc/self/fd/{descriptor}"
    packages = [module for module in sys.modules.values() if hasattr(module, "__path__")]
    for path in (sys.path, *(package.__path__ for package in packages)):
        path[:] = [entry.replace(old, new, 1) for entry in path]
    sys.path_importer_cache.clear()


def enter_sandbox(setting: Setting, ready: int, supervisor: int) -> None:
    """Shut the calling child in, say so, and close the descriptor it is said on."""
    try:
        prctl(PR_SET_PDEATHSIG, SIGKILL)
        if os.getppid() != supervisor:
            os._exit(1)  # it ended before it could be watched
        os.setsid()
        confine(setting.ruleset, bytes.fromhex(setting.request.seccomp), setting.bounds)
    except OSError as error:
        layer = {"syscall": "Landlock", "prctl": "seccomp"}.get(error.filename, "the floor")
        os.write(ready, f"{layer} cannot be had here: {error}".encode())
        os._exit(1)
    os.environ.clear()
    os.environ.update(HOME=setting.request.folder, TMPDIR=setting.request.folder)
    sys.argv[:] = ["<program>"]
    reach_library(setting.library)
    os.write(ready, READY)
    os.close(ready)


def be_judge(setting: Setting, channels: Channels, null: int, supervisor: int) -> NoReturn:
    calls, answers, verdict = channels.calls[1], channels.answers[0], channels.verdict[1]
    ready, tests = channels.judge_ready[1], os.dup(0)
    replace_standard_streams(null, null)
    keep_only(calls, answers, verdict, ready, tests, setting.ruleset, setting.library)
    os.chdir("/")
    enter_sandbox(setting, ready, supervisor)
    report_verdict(tests, calls, answers, verdict)


def be_program(setting: Setting, channels: Channels, null: int, supervisor: int) -> NoReturn:
    calls, answers, ready = channels.calls[0], channels.answers[1], channels.program_ready[1]
    replace_standard_streams(null, channels.output[1])
    keep_only(calls, answers, ready, setting.ruleset, setting.library)
    enter_sandbox(setting, ready, supervisor)
    serve(setting.request.program, calls, answers)


def fork(be: Callable[[], NoReturn]) -> int:
    child = os.fork()
    if not child:
        try:
            be()
        finally:
            os._exit(1)
    return child


def wait_until_ready(channels: Channels) -> None:
    """Both children are shut in. Refused with the reason of the first that cannot be."""
    deadline = time.monotonic() + READY_SECONDS
    for descriptor in (channels.judge_ready[0], channels.program_ready[0]):
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        if not poller.poll(1000 * max(deadline - time.monotonic(), 0)):
            raise Refused(f"a child was not shut in within {READY_SECONDS:g} s")
        answer = os.read(descriptor, 4096)
        if answer != READY:
            raise Refused(answer.decode(errors="replace") or "a child ended before it was shut in")


class Watch:
    """Looks after a running program; keeps the end of what it prints and discards the rest."""

    def __init__(self, request: Request, channels: Channels, *, own_disk: bool) -> None:
        self.request, self.message = request, bytearray()
        self._own_disk, self._output, self._verdict = (
            own_disk,
            channels.output[0],
            channels.verdict[0],
        )
        os.set_blocking(self._output, False)

    def until(self, child: int, seconds: float) -> str:
        """Until `child` ends ("") or must be stopped: timeout, folder or abandoned."""
        deadline, next_look = time.monotonic() + seconds, 0.0
        pidfd, poller = os.pidfd_open(child), select.poll()
        for descriptor in (pidfd, self._output, self.request.lifeline):
            poller.register(descriptor, select.POLLIN)
        try:
            while (now := time.monotonic()) < deadline:
                if not self._own_disk and now >= next_look:
                    if is_full(self.request.folder_bytes, deadline):
                        return "folder"
                    next_look = time.monotonic() + POLL_SECONDS
                ready = {
                    descriptor
                    for descriptor, _ in poller.poll(1000 * min(deadline - now, POLL_SECONDS))
                }
                if self._output in ready and not self.drain():
                    poller.unregister(self._output)
                if pidfd in ready:
                    return ""
                if self.request.lifeline in ready:
                    return "abandoned"
            return "timeout"
        finally:
            os.close(pidfd)

    def verdict(self) -> str:
        """What the judge, which has ended, wrote: a letter and a reason; empty for nothing."""
        return os.read(self._verdict, 1 << 16).decode(errors="replace")

    def drain(self) -> bool:
        """Read once what is printed; whether more can follow."""
        try:
            chunk = os.read(self._output, 1 << 16)
        except BlockingIOError:
            return False
        self.message = (self.message + chunk)[-MESSAGE_BYTES:]
        return bool(chunk)


def is_full(folder_bytes: int, deadline: float) -> bool:
    """Whether the folder holds more; a part that cannot be looked into counts as full."""
    used, folders = 0, ["."]
    while folders and used <= folder_bytes and time.monotonic() < deadline:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    used += max(entry.stat(follow_symlinks=False).st_blocks * 512, ENTRY_BYTES)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except FileNotFoundError:
            continue  # removed meanwhile
        except OSError:
            return True
    return used > folder_bytes


def end_children(*children: int) -> dict[int, tuple[int, float]]:
    """Kill and reap: each child's status and CPU seconds. None can have a child of its own."""
    for child in children:
        os.kill(child, SIGKILL)  # not yet reaped, so the number is still its own
    ends: dict[int, tuple[int, float]] = {}
    deadline = time.monotonic() + REAP_SECONDS
    while len(ends) < len(children) and time.monotonic() < deadline:
        pid, status, usage = os.wait4(-1, os.WNOHANG)
        if pid:
            ends[pid] = (status, usage.ru_utime + usage.ru_stime)
        else:
            time.sleep(0.001)
    return ends


def supervise(request: Request, announce: Callable[[], None]) -> Report:
    """Run the program and its judge, and leave nothing of them behind; `announce` the start."""
    library, null = os.open(library_folder(), os.O_PATH), os.open("/dev/null", os.O_RDWR)
    was_root = os.geteuid() == 0
    if was_root:
        leave_root(request.folder)
    prctl(PR_SET_DUMPABLE, 1)  # else the files of /proc/self are root's
    own_disk = share_nothing(request.folder, request.folder_bytes)
    try:
        os.chdir(request.folder)
    except OSError as error:
        raise Refused(f"user {os.getuid()} cannot reach the working folder: {error}") from error
    setting = Setting(request, bounds(request, own_disk), rules(library), library)
    channels, supervisor = Channels(*(os.pipe() for _ in Channels._fields)), os.getpid()
    judge = fork(lambda: be_judge(setting, channels, null, supervisor))
    program = fork(lambda: be_program(setting, channels, null, supervisor))
    prctl(PR_SET_DUMPABLE, 0)
    close_children_ends(channels)
    try:
        wait_until_ready(channels)
    except Refused:
        end_children(judge, program)
        raise
    announce()
    layers = ("uid",) * was_root + ("namespaces",) * own_disk
    return watched(Watch(request, channels, own_disk=own_disk), judge, program, layers)


def watched(watch: Watch, judge: int, program: int, layers: tuple[str, ...]) -> Report:
    """Wait for the verdict or the limit, end both children, and report."""
    started = time.monotonic()
    stopped = watch.until(judge, watch.request.seconds)
    seconds = time.monotonic() - started
    verdict = "" if stopped else watch.verdict()
    has_ended = verdict.startswith(ENDED) and not watch.until(program, ENDING_SECONDS)
    ends = end_children(judge, program)
    watch.drain()
    status, cpu_seconds = ends.get(program, (0, 0.0))
    if not stopped and not verdict.startswith(PASSED) and cpu_seconds >= watch.request.seconds:
        stopped = "timeout"  # the kernel's limit on CPU seconds came first
    message = watch.message.decode(errors="replace") + verdict[1:]
    return Report(
        "", layers, stopped, status * has_ended, verdict[:1], seconds, message[-MESSAGE_BYTES:]
    )


def bounds(request: Request, own_disk: bool) -> Bounds:
    """Of each child. Its user's tasks are counted together: supervisor, judge and program too."""
    num_present = 2 if own_disk else num_tasks_of(os.getuid())
    return Bounds(
        seconds=request.seconds,
        memory_bytes=request.memory_bytes,
        folder_bytes=request.folder_bytes,
        num_tasks=num_present + 1 + request.threads,
        open_files=request.open_files,
    )


def rules(library: int) -> int:
    try:
        return file_rules(library)
    except OSError as error:
        raise Refused(f"Landlock cannot be had here: {error}") from error


def close_children_ends(channels: Channels) -> None:
    """The supervisor only reads; an end that it kept would hide that a child has closed its own."""
    kept = {channels.output[0], channels.verdict[0]}
    kept |= {channels.judge_ready[0], channels.program_ready[0]}
    for end in {end for pair in channels for end in pair} - kept:
        os.close(end)


def main() -> None:
    """Read a request's frame, leave the test's frame to the judge, and print a report."""
    request = unpacked(Request, read_frame(0, max_bytes=MAX_REQUEST_BYTES))

    def announce() -> None:
        os.write(1, STARTED)

    try:
        report = supervise(request, announce)
    except Refused as error:
        report = Report(refused=str(error))
    write_frame(1, packed(report))
