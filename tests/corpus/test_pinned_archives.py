"""Pinned archives come from the configured indexes, with the pinned digest or not at all."""

import hashlib
import io
import json
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from snow_assets.corpus.pinned_archives import Pin, download, missing_pins, read_pins

WHEEL, NEWER_WHEEL = (f"amber-{version}-py3-none-any.whl" for version in ("1.0", "1.1"))
TARBALL = "basalt-2.0.0.tgz"


def wheel_bytes(version: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("amber.py", "x = 1\n")
        archive.writestr(
            f"amber-{version}.dist-info/METADATA",
            f"Metadata-Version: 2.1\nName: amber\nVersion: {version}\n",
        )
        archive.writestr(
            f"amber-{version}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"amber-{version}.dist-info/RECORD", "")
    return content.getvalue()


def tarball_bytes() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in (
            ("package.json", '{"name": "basalt", "version": "2.0.0"}'),
            ("index.js", "module.exports = 1;\n"),
        ):
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()


WHEEL_BYTES, NEWER_BYTES, TARBALL_BYTES = wheel_bytes("1.0"), wheel_bytes("1.1"), tarball_bytes()


class Registry(BaseHTTPRequestHandler):
    """An npm registry with one package."""

    def do_GET(self) -> None:
        host = f"http://{self.headers['Host']}"
        if self.path.endswith(".tgz"):
            body, kind = TARBALL_BYTES, "application/octet-stream"
        else:
            version = {
                "name": "basalt",
                "version": "2.0.0",
                "dist": {
                    "tarball": f"{host}/{TARBALL}",
                    "shasum": hashlib.sha1(TARBALL_BYTES, usedforsecurity=False).hexdigest(),
                },
            }
            packument = {
                "name": "basalt",
                "dist-tags": {"latest": "2.0.0"},
                "versions": {"2.0.0": version},
            }
            body, kind = json.dumps(packument).encode(), "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of wheels that pip looks into; npm asks a server."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / WHEEL).write_bytes(WHEEL_BYTES)
    (wheels / NEWER_WHEEL).write_bytes(NEWER_BYTES)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    yield wheels
    server.shutdown()
    thread.join()
    server.server_close()


def pins() -> list[Pin]:
    return [
        Pin(
            group="python",
            client="wheel",
            specifier="amber==1.0",
            file=WHEEL,
            sha256=hashlib.sha256(WHEEL_BYTES).hexdigest(),
        ),
        Pin(
            group="javascript",
            client="npm",
            specifier="basalt@2.0.0",
            file=TARBALL,
            sha256=hashlib.sha256(TARBALL_BYTES).hexdigest(),
        ),
    ]


def test_archives_come_from_both_registries_once(registry: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archives"
    counts: list[int] = []
    download(pins(), folder, progress=counts.append)
    assert counts == [1, 2]
    assert (folder / "python" / WHEEL).read_bytes() == WHEEL_BYTES
    assert (folder / "javascript" / TARBALL).read_bytes() == TARBALL_BYTES
    assert missing_pins(pins(), folder) == []
    assert sorted(path.name for path in folder.iterdir()) == ["javascript", "python"]
    (registry / WHEEL).unlink()
    download(pins(), folder)  # asks for nothing


def test_two_versions_of_a_package_come_both(registry: Path, tmp_path: Path) -> None:
    older, _ = pins()
    digest = hashlib.sha256(NEWER_BYTES).hexdigest()
    newer = replace(older, specifier="amber==1.1", file=NEWER_WHEEL, sha256=digest)
    download([older, newer], tmp_path)
    assert (tmp_path / "python" / WHEEL).read_bytes() == WHEEL_BYTES
    assert (tmp_path / "python" / NEWER_WHEEL).read_bytes() == NEWER_BYTES


def test_an_archive_with_another_digest_is_refused(registry: Path, tmp_path: Path) -> None:
    python, javascript = pins()
    with pytest.raises(subprocess.CalledProcessError):
        download([replace(python, sha256="0" * 64)], tmp_path / "a")
    with pytest.raises(ValueError, match=r"basalt@2\.0\.0 is pinned with 000"):
        download([replace(javascript, sha256="0" * 64)], tmp_path / "b")
    assert not list((tmp_path / "b" / "javascript").iterdir())


def test_a_changed_file_is_named(registry: Path, tmp_path: Path) -> None:
    download(pins(), tmp_path)
    (tmp_path / "python" / WHEEL).write_bytes(b"changed")
    with pytest.raises(ValueError, match=r"amber-1.0-py3-none-any.whl has the SHA-256"):
        download(pins(), tmp_path)


def test_a_file_that_is_not_pinned_is_named_and_stays(registry: Path, tmp_path: Path) -> None:
    own = tmp_path / "python" / "amber-0.9-py3-none-any.whl"
    own.parent.mkdir()
    own.write_bytes(b"somebody's only copy")
    (tmp_path / "python" / WHEEL).write_bytes(WHEEL_BYTES)
    with pytest.raises(ValueError, match=rf"{own}: not pinned, .* Delete them .*, move them"):
        download(pins(), tmp_path)
    assert own.read_bytes() == b"somebody's only copy"
    assert not (tmp_path / "javascript").exists()
    own.unlink()
    download(pins(), tmp_path)


def test_a_line_that_is_no_pin_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pins.txt"
    path.write_text("# comment\npython wheel amber==1.0 amber.whl\n")
    with pytest.raises(ValueError, match=r"pins\.txt:2 is no pin of an archive"):
        read_pins(path)
