"""Small sources of every kind, and the recipe that reads them."""

import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from snow_assets.corpus.source_rows import Gate
from snow_assets.recipe import ArchiveLimits, CorpusRecipe, Source

CASES = Path(__file__).parents[1] / "cases"
"""Small inputs that show one situation each; a folder's README names it."""

MIT = """MIT License

Copyright (c) 2024 A. Author

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""
GPL = "GNU GENERAL PUBLIC LICENSE\n   Version 3, 29 June 2007\n"
OPEN_GATE = Gate(opted_out=frozenset(), exemplars=frozenset())
LIMITS = ArchiveLimits(
    max_bytes=1_000_000, max_ratio=20, max_members=100, max_depth=8, max_name_bytes=200
)


def a_source(
    *locations: Path | str,
    kind: Literal["distributions", "folder", "archives", "stack_v3", "rows"],
    files_per_repository: int | None = None,
) -> Source:
    return Source(
        name="here",
        kind=kind,
        locations=tuple(str(location) for location in locations),
        files_per_repository=files_per_repository,
    )


def a_recipe(source: Source, **changed: Any) -> CorpusRecipe:
    fields: dict[str, Any] = {
        "sources": (source,),
        "permissive_licenses": ("Apache-2.0", "BSD-3-Clause", "MIT"),
        "opt_out_list": "opt_outs.txt",
        "max_file_bytes": 20_000,
        "archives": LIMITS,
        "min_repositories": 1,
        "shard_bytes": 20_000,
    }
    return CorpusRecipe(**{**fields, **changed})


def a_repository(folder: Path, files: Mapping[str, str | bytes], *, license_: str = MIT) -> Path:
    """A repository in place; `license_` empty: without one."""
    for name, content in {**files, **({"LICENSE": license_} if license_ else {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def a_tar(path: Path, members: Iterable[tuple[str | tarfile.TarInfo, bytes]]) -> Path:
    """A tar.gz whose members stand in it as given, hostile ones too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            if info.isreg():
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def a_zip(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path
