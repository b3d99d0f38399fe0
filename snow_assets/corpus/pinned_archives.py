"""Source archives that a recipe pins by version and SHA-256, fetched with pip and npm.

A pin is a line `GROUP CLIENT SPECIFIER FILE SHA256`: the folder that the file goes to, `wheel`,
`sdist` or `npm`, what the client is asked for, and the file that comes. Both clients use the
indexes that they are configured for. No code of a wheel or an npm archive is executed; pip builds
the metadata of an sdist.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from more_itertools import chunked

Client = Literal["wheel", "sdist", "npm"]

_NUM_LISTED = 20  # files that an error names
_BATCH_PINS = 50  # that a client is asked for at once: lost at most by a kill


@dataclass(frozen=True, kw_only=True)
class Pin:
    """An archive of a registry; `specifier` is `name==version`, for npm `name@version`."""

    group: str
    client: Client
    specifier: str
    file: str
    sha256: str

    @property
    def package(self) -> str:
        separator = "@" if self.client == "npm" else "=="
        return self.specifier.rpartition(separator)[0]

    def path(self, folder: Path) -> Path:
        return folder / self.group / self.file


def read_pins(path: Path) -> list[Pin]:
    """The pins of a file; ValueError with the number of a line that is none."""
    pins = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) != 5 or fields[1] not in get_args(Client) or "/" in fields[3]:
            raise ValueError(f"{path}:{number} is no pin of an archive: {line!r}")
        group, client, specifier, file, sha256 = fields
        pins.append(
            Pin(group=group, client=client, specifier=specifier, file=file, sha256=sha256)  # type: ignore[arg-type]
        )
    return pins


def missing_pins(pins: Sequence[Pin], folder: Path) -> list[Pin]:
    """The pins whose file is not in its group's folder."""
    return [pin for pin in pins if not pin.path(folder).exists()]


def download(
    pins: Sequence[Pin], folder: Path, *, progress: Callable[[int], None] = lambda _: None
) -> None:
    """Download the archives that are missing into their groups' folders, and check all digests.

    ValueError names files in these folders that are not pinned, before anything is fetched, and a
    file with another digest; subprocess.CalledProcessError a client that failed. `progress` is
    called with the number of archives that are there.
    """
    _refuse_unpinned(pins, folder)
    for group in {pin.group for pin in pins}:
        (folder / group).mkdir(parents=True, exist_ok=True)
    num_missing = len(missing_pins(pins, folder))
    for client in get_args(Client):
        missing = [pin for pin in missing_pins(pins, folder) if pin.client == client]
        for batch in _batches(missing):
            _fetch(client, batch, folder)
            num_missing -= len(batch)
            progress(len(pins) - num_missing)
    for pin in pins:
        _check_digest(pin, pin.path(folder))


def _refuse_unpinned(pins: Sequence[Pin], folder: Path) -> None:
    pinned = {pin.path(folder) for pin in pins}
    groups = sorted({folder / pin.group for pin in pins})
    unpinned = [
        str(path)
        for group in groups
        if group.exists()
        for path in sorted(group.iterdir())
        if path not in pinned
    ]
    if unpinned:
        more = f" and {len(unpinned) - _NUM_LISTED} more" if len(unpinned) > _NUM_LISTED else ""
        raise ValueError(
            f"{', '.join(unpinned[:_NUM_LISTED])}{more}: not pinned, and a source reads every file "
            "of its folder. Delete them if they are of older pins, move them to a folder of your "
            "own, or pin them"
        )


def _batches(pins: Sequence[Pin]) -> Iterator[list[Pin]]:
    """The pins in batches without two versions of a package, which pip would refuse."""
    versions: Counter[str] = Counter()
    batches: dict[int, list[Pin]] = {}
    for pin in pins:
        batches.setdefault(versions[pin.package], []).append(pin)
        versions[pin.package] += 1
    for batch in batches.values():
        yield from chunked(batch, _BATCH_PINS)


def _fetch(client: Client, pins: Sequence[Pin], folder: Path) -> None:
    """Fetch archives beside their folders, then move those with the right digest there."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
        if client == "npm":
            specifiers = [pin.specifier for pin in pins]
            command = ["npm", "pack", "--silent", "--ignore-scripts", *specifiers]
        else:
            requirements = Path(temporary) / "requirements.txt"
            requirements.write_text(
                "".join(f"{pin.specifier} --hash=sha256:{pin.sha256}\n" for pin in pins)
            )
            kind = "--only-binary" if client == "wheel" else "--no-binary"
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", kind, ":all:"]
            command += ["--require-hashes", "-r", requirements.name]
        subprocess.run(command, check=True, cwd=temporary, stdout=sys.stderr)
        for pin in pins:
            path = Path(temporary) / pin.file
            if not path.exists():
                raise ValueError(
                    f"{pin.specifier} came as another file than {pin.file}, which is pinned: for a "
                    "wheel of another machine, pin its sdist"
                )
            _check_digest(pin, path)
            shutil.move(path, pin.path(folder))


def _check_digest(pin: Pin, path: Path) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != pin.sha256:
        raise ValueError(
            f"{path} has the SHA-256 {digest}, and {pin.specifier} is pinned with {pin.sha256}: "
            "delete the file"
        )
