"""Web servers of an installation: `make dev` serves Dagster and MLflow, `make mlflow` the latter.

Both servers end together, no matter how they are stopped.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from snow_assets.home import home, warn
from snow_resources.mlflow_store import prepare_store, store_path

_GRACE_SECONDS = 20


def mlflow_command(uri: str, port: int) -> list[str]:
    """Command of MLflow's server with a SQLite store; a single worker is enough for one user."""
    return [
        str(Path(sys.executable).with_name("mlflow")),
        "server",
        "--backend-store-uri",
        uri,
        "--artifacts-destination",
        str(home() / "mlflow-artifacts"),
        "--port",
        str(port),
        "--workers",
        "1",
    ]


def dagster_command(port: int) -> list[str]:
    python_folder = Path(sys.executable).parent
    return [
        str(python_folder / "dagster"),
        "dev",
        "-m",
        "snow_assets.definitions",
        "--port",
        str(port),
    ]


def mlflow_server(port: int) -> list[list[str]]:
    """The command of MLflow's server; none if MLflow is a remote server or the port is in use."""
    from snow_assets import definitions  # its import takes seconds
    from snow_assets.recipe import chosen_recipe

    uri = definitions.mlflow_uri()
    if store_path(uri) is None:
        warn(f"MLflow is served at {uri}")
        return []
    if _is_port_in_use(port):
        warn(f"port {port} is in use: MLflow is not started; MLFLOW_PORT=5001 chooses another one")
        return []
    prepare_store(uri)
    waiting = definitions.resources(chosen_recipe())["tracking"].write_waiting().message()
    if waiting:
        warn(waiting)
    warn(f"MLflow: http://localhost:{port}")
    return [mlflow_command(uri, port)]


def serve(commands: Sequence[Sequence[str]]) -> int:
    """Start servers, wait for the end of the first server or a signal, and stop all of them.

    Returns the first server's exit code.
    """

    def stop(signal_number: int, _: FrameType | None) -> None:
        sys.exit(128 + signal_number)

    for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signal_number, stop)
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
    }
    servers: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            servers.append(subprocess.Popen(command, env=environment))  # noqa: PERF401  if one fails, stop the others
        return servers[0].wait()
    finally:
        for server in servers:
            if server.poll() is None:
                server.terminate()
        for server in servers:
            try:
                server.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def port_violation(ports: Sequence[int]) -> str | None:
    """Why these ports, Dagster's first of two, cannot be served; None: they can.

    Dagster goes on without a page where its port is taken, and the page there is another home's.
    """
    for port in ports:
        if not 0 < port < 65_536:
            return f"port {port} is none: ports are from 1 to 65535"
    if len(ports) == 1:
        return None
    if ports[0] == ports[1]:
        return f"PORT and MLFLOW_PORT are both {ports[0]}: choose two ports"
    if _is_port_in_use(ports[0]):
        return (
            f"port {ports[0]} is in use, perhaps by another `make dev`: PORT=3001 chooses another "
            "one"
        )
    return None


def _is_port_in_use(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main(arguments: Sequence[str]) -> None:
    """`dev DAGSTER_PORT MLFLOW_PORT` or `mlflow MLFLOW_PORT`."""
    if violation := port_violation([int(port) for port in arguments[1:]]):
        sys.exit(violation)
    mlflow = mlflow_server(int(arguments[-1]))
    if arguments[0] == "mlflow":
        sys.exit(serve(mlflow) if mlflow else 1)
    sys.exit(serve([dagster_command(int(arguments[1])), *mlflow]))


if __name__ == "__main__":
    main(sys.argv[1:])
