"""A real Postgres for tests: Debian's, on a free port, with the platform's roles and databases."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snow_assets.home import CHECKOUT

INIT = CHECKOUT / "k8s" / "platform" / "postgres-init.sh"
PASSWORDS = {"POSTGRES_PASSWORD": "p-one", "DAGSTER_PASSWORD": "p-two", "MLFLOW_PASSWORD": "p-3"}


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    beside = shutil.which("initdb")
    return Path(beside).parent if beside else None


@contextmanager
def serving() -> Iterator[int]:
    """Its port, open to pods, while it runs."""
    bin_folder = programs()
    assert bin_folder, "no Postgres: install Debian's `postgresql`"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest's own is closed to others
    folder.chmod(0o777)
    data, password = folder / "data", folder / "password"
    password.write_text(PASSWORDS["POSTGRES_PASSWORD"])
    password.chmod(0o644)
    _as_nobody(
        str(bin_folder / "initdb"),
        "-D",
        str(data),
        "-U",
        "postgres",
        "--auth=scram-sha-256",
        f"--pwfile={password}",
        "--no-sync",
    )
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 0.0.0.0/0 scram-sha-256\n")
    options = f"-p {port} -c listen_addresses=* -c unix_socket_directories={folder} -c fsync=off"
    control = (str(bin_folder / "pg_ctl"), "-D", str(data), "-w")
    _as_nobody(*control, "-l", str(folder / "log"), "-o", options, "start")
    try:
        told = {**os.environ, **PASSWORDS, "PGHOST": "127.0.0.1", "PGPORT": str(port)}
        told["PGPASSWORD"] = PASSWORDS["POSTGRES_PASSWORD"]
        subprocess.run(["sh", str(INIT)], check=True, capture_output=True, env=told)
        yield port
    finally:
        _as_nobody(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def _as_nobody(*command: str) -> None:
    """Postgres refuses to be root."""
    user = 65534 if os.getuid() == 0 else None
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=user, group=user, cwd="/")
