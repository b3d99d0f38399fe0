"""Kill `make demo` again and again, start it again each time, and compare what stands at the end
with an undisturbed run, which is started twice at once: `python benchmarks/kills.py --kills 30`.

Chosen moments come first (MLflow's first write, between a manifest and its record, the parent
alone while its job runs, the tables step), random ones fill up. Processes are killed with SIGKILL,
some with SIGTERM or SIGINT. Compared are the digest of every artifact that the recipe names,
MLflow's runs, models and aliases, Dagster's runs, and what is left over: processes, unfinished
artifacts, temporary files.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
RECIPE = "tests.recipes:MINIMAL"
_POLL_SECONDS = 0.01
_FIRST_LOOK_SECONDS = 0.1  # before that no process has got further than its interpreter's start
_SETTLE_SECONDS = 30.0  # what an ended parent's jobs may take to end themselves


def _never(_home: Path) -> bool:
    return False


@dataclass(frozen=True)
class Kill:
    """When to send which signal, and whether to the parent process alone."""

    name: str
    is_due: Callable[[Path, float], bool]  # (home, seconds since the start)
    number: signal.Signals = signal.SIGKILL
    parent_alone: bool = False
    has_passed: Callable[[Path], bool] = _never  # no later start can meet the moment


def demo_environment(home: Path, recipe: str) -> dict[str, str]:
    """A user's environment with `home`, and a folder of its own for temporary files."""
    temporary = home.with_name(f"{home.name}-tmp")
    temporary.mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SNOW_")}
    return {
        **inherited,
        "SNOW_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "SNOW_RECIPE": recipe,
        "TMPDIR": str(temporary),
        "HF_HUB_OFFLINE": "1",
    }


def start(home: Path, recipe: str, log: Path) -> subprocess.Popen[bytes]:
    """The demo in a session of its own, its output appended to `log`."""
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "snow_assets.cli.demo"],
            cwd=CHECKOUT,
            env=demo_environment(home, recipe),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _after(seconds: float) -> Callable[[Path, float], bool]:
    return lambda _home, elapsed: elapsed >= seconds


def _between_manifest_and_record(asset: str) -> Kill:
    """A manifest of `asset` is there, and the recipe's pointer is not."""

    def is_due(home: Path, _elapsed: float) -> bool:
        manifests = (home / "lake" / asset).glob("*/*/manifest.json")
        return len(list(manifests)) > len(_pointers(home, asset))

    return Kill(
        f"between manifest and record of {asset}",
        is_due,
        has_passed=lambda home: bool(_pointers(home, asset)),
    )


def _pointers(home: Path, asset: str) -> list[Path]:
    return list((home / "lake" / "current").glob(f"*/{asset}/*.json"))


def _mlflow_creation(seconds: float, number: signal.Signals = signal.SIGKILL) -> Kill:
    """`seconds` after a new file for MLflow's store; only a finished one gets its name."""
    since: dict[str, float] = {}
    stale: set[str] = set()

    def is_due(home: Path, elapsed: float) -> bool:
        files = {path.name for path in home.glob(".mlflow.db.new-*")}
        if elapsed < _FIRST_LOOK_SECONDS:
            stale.update(files)
        for name in files - stale:
            since.setdefault(name, elapsed)
        return any(elapsed >= start + seconds for start in since.values())

    return Kill(
        f"MLflow's first write, after {seconds} s",
        is_due,
        number,
        has_passed=lambda home: (home / "mlflow.db").exists(),
    )


def _tables_began(seconds: float) -> Callable[[Path, float], bool]:
    """`seconds` after all that the tables read is there."""
    since: list[float] = []

    def is_due(home: Path, elapsed: float) -> bool:
        results = [path.stem for path in _pointers(home, "benchmark_results")]
        if not since and "enhanced" in results:
            since.append(elapsed)
        return bool(since) and elapsed >= since[0] + seconds

    return is_due


def _job(module: str, asset: str, number: signal.Signals = signal.SIGKILL) -> Kill:
    """While a job of this home runs `module`: SIGKILL to the parent alone, others to all."""

    def is_due(home: Path, _elapsed: float) -> bool:
        return any(module in command for command in processes(home).values())

    return Kill(
        f"{module}, {number.name}",
        is_due,
        number,
        parent_alone=number == signal.SIGKILL,
        has_passed=lambda home: bool(_pointers(home, asset)),
    )


def chosen_kills() -> list[Kill]:
    """The moments at which something could be lost, in the order in which a demo meets them."""
    return [
        Kill(
            "first start of the home",
            lambda home, _: (home / "dagster").exists(),
            has_passed=lambda home: (home / "dagster").exists(),
        ),
        _between_manifest_and_record("benchmark_problems"),
        *map(_mlflow_creation, (0.05, 0.4, 0.8)),
        _mlflow_creation(0.6, signal.SIGINT),
        _mlflow_creation(1.2),
        _between_manifest_and_record("raw_code_corpus"),
        _between_manifest_and_record("near_duplicates"),
        _between_manifest_and_record("clean_corpus"),
        _job("quality.training", "quality_annotator"),
        _between_manifest_and_record("quality_annotator"),
        _job("pretraining.training", "general_checkpoint"),
        _job("pretraining.training", "general_checkpoint", signal.SIGTERM),
        _between_manifest_and_record("general_checkpoint"),
        _job("quality.scoring", "quality_scores"),
        _job("quality.scoring", "quality_scores", signal.SIGTERM),
        _between_manifest_and_record("quality_scores"),
        _job("synthesis.generation", "synthetic_completions"),
        _between_manifest_and_record("synthetic_completions"),
        _between_manifest_and_record("enhanced_checkpoint"),
        _between_manifest_and_record("benchmark_results"),
        *(Kill(f"tables step, after {delay} s", _tables_began(delay)) for delay in (1.0, 4.0, 8.0)),
        Kill("tables step, by Ctrl-C", _tables_began(6.0), signal.SIGINT),
    ]


def all_kills(seed: int) -> Iterator[Kill]:
    """Chosen moments, and after every second one a random one; then random ones without end."""
    source = random.Random(seed)
    for count, kill in enumerate(chosen_kills()):
        yield kill
        if count % 2 and count > 7:  # not before the first artifact
            yield _random_kill(source)
    while True:
        yield _random_kill(source)


def _random_kill(source: random.Random) -> Kill:
    delay = source.uniform(0.5, 10.0)
    return Kill(f"after {delay:.1f} s", _after(delay))


def processes(home: Path) -> dict[int, str]:
    """Process id -> command line, of every living process whose SNOW_HOME is `home`."""
    marker = f"SNOW_HOME={home}\0".encode()
    commands = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if marker in (folder / "environ").read_bytes():
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                if command:  # a zombie has none
                    commands[int(folder.name)] = command.decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return commands


def run_and_kill(home: Path, recipe: str, kill: Kill, log: Path, limit: float) -> bool:
    """Start the demo and kill it when it is due; whether it was alive then."""
    process = start(home, recipe, log)
    started = time.monotonic()
    while process.poll() is None:
        elapsed = time.monotonic() - started
        if kill.is_due(home, elapsed):
            break
        if elapsed > limit:
            raise TimeoutError(f"no end and no {kill.name!r} within {limit:.0f} s: see {log}")
        time.sleep(_POLL_SECONDS)
    else:
        return False
    if kill.parent_alone:
        process.send_signal(kill.number)
    else:
        os.killpg(process.pid, kill.number)
    try:
        process.wait(150)  # a job that is told to end may write its checkpoint first
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise TimeoutError(f"{kill.name!r}: {kill.number.name} did not end the demo") from None
    return True


def run_to_end(home: Path, recipe: str, log: Path, limit: float, *, times: int = 1) -> None:
    """Start the demo `times` times at once; each must end well."""
    demos = [start(home, recipe, log) for _ in range(times)]
    for process in demos:
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            for each in demos:
                os.killpg(each.pid, signal.SIGKILL)
            raise TimeoutError(f"the demo did not end within {limit:.0f} s: see {log}") from None
        if code:
            raise RuntimeError(f"the demo ended with exit code {code}: see {log}")


def digests(home: Path) -> dict[str, str]:
    """`asset/partition` -> digest of what the recipe's pointer names."""
    root = home / "lake" / "current"
    return {
        str(path.relative_to(root).with_suffix("")): json.loads(path.read_bytes())["digest"]
        for path in sorted(root.rglob("*.json"))
    }


def mlflow_state(home: Path) -> dict[str, Any]:
    """What MLflow says: runs per artifact, and per model its versions and aliases by digest."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiments = [entry.experiment_id for entry in client.search_experiments()]
    runs = sorted(
        "/".join(run.data.tags.get(f"dagster.{name}", "") for name in ("asset_key", "partition"))
        for run in client.search_runs(experiments, max_results=5_000)
        if run.data.tags.get("dagster.asset_key")
    )
    models = {}
    for model in client.search_registered_models():
        versions = client.search_model_versions(f"name='{model.name}'")
        by_number = {int(entry.version): entry.tags.get("data_version", "") for entry in versions}
        models[model.name] = {
            "versions": sorted(by_number.values()),
            "aliases": {
                alias: by_number[int(version)] for alias, version in sorted(model.aliases.items())
            },
        }
    return {"runs": runs, "models": models}


def dagster_unfinished(home: Path) -> list[str]:
    """Runs that Dagster still counts as queued or running."""
    code = (
        "import dagster as dg, json\n"
        "from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES\n"
        "with dg.DagsterInstance.get() as instance:\n"
        "    filters = dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES))\n"
        "    print(json.dumps([f'{run.run_id} {run.status.value}'"
        " for run in instance.get_runs(filters)]))\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "DAGSTER_HOME": str(home / "dagster")},
        capture_output=True,
        text=True,
        check=True,
    )
    unfinished: list[str] = json.loads(output.stdout.splitlines()[-1])
    return unfinished


def leftovers(home: Path) -> list[str]:
    """What a killed run left and nobody ended or removed."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while (alive := processes(home)) and time.monotonic() < deadline:
        time.sleep(0.5)
    left = [f"process {number}: {command}" for number, command in alive.items()]
    lake = home / "lake"
    left += [
        f"unfinished artifact {path.parent.relative_to(home)}"
        for path in sorted(lake.glob("*/*/*/records"))
        if not (path.parent / "manifest.json").exists()
    ]
    temporary = home.with_name(f"{home.name}-tmp")
    left += [f"temporary {path.name}" for path in sorted(temporary.iterdir())]
    left += [f"record that waits: {path}" for path in sorted(home.glob("mlflow-spool/*.json"))]
    return left


def differences(undisturbed: Path, killed: Path) -> list[str]:
    """Where the two homes disagree; none if the kills left no trace."""
    expected, actual = digests(undisturbed), digests(killed)
    lines = [
        f"digest of {name}: {expected.get(name)} and {actual.get(name)}"
        for name in sorted(expected.keys() | actual.keys())
        if expected.get(name) != actual.get(name)
    ]
    states = mlflow_state(undisturbed), mlflow_state(killed)
    lines += [
        f"MLflow's {key}: {states[0][key]} and {states[1][key]}"
        for key in states[0]
        if states[0][key] != states[1][key]
    ]
    lines += [f"Dagster's run {run}" for run in dagster_unfinished(killed)]
    usual = {line.split(":")[0] for line in leftovers(undisturbed)}
    return lines + [line for line in leftovers(killed) if line.split(":")[0] not in usual]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default=RECIPE)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds of one start")
    parser.add_argument("--folder", type=Path, help="where both homes are made; default: temporary")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    report = test(folder, arguments.recipe, arguments.kills, arguments.seed, arguments.limit)
    print("\n".join(report) or "no difference")
    sys.exit(bool(report))


def test(folder: Path, recipe: str, number: int, seed: int, limit: float) -> list[str]:
    """Both runs in `folder`; prints each kill, and returns the differences."""
    undisturbed, killed = folder / "undisturbed", folder / "killed"
    started = time.monotonic()
    run_to_end(undisturbed, recipe, folder / "undisturbed.log", limit, times=2)
    print(f"undisturbed: {time.monotonic() - started:.0f} s, {len(digests(undisturbed))} artifacts")
    log = folder / "killed.log"
    hits = 0
    for kill in all_kills(seed):
        if hits == number:
            break
        if kill.has_passed(killed):
            print(f"{'':12s}  passed: {kill.name}", flush=True)
            continue
        started = time.monotonic()
        hit = run_and_kill(killed, recipe, kill, log, limit)
        hits += hit
        state = f"{kill.number.name} {kill.name}" if hit else f"ended before {kill.name}"
        print(f"{hits:3d}  {time.monotonic() - started:6.1f} s  {state}", flush=True)
    run_to_end(killed, recipe, log, limit)
    return differences(undisturbed, killed)


if __name__ == "__main__":
    main()
