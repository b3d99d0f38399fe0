"""Curate a few files in a lake and print each artifact's digest: `python -m ... FOLDER`."""

import json
import sys

from snow_assets.storage import shards
from tests.curation.builders import RECIPE, a_file, a_problem, a_program, clean_corpora


def main(lake: str) -> None:
    files = [
        *(
            a_file(f"m{n}.py", a_program(f"{name}{n}"), repository=name)
            for name in ("amber", "birch", "cedar")
            for n in range(4)
        ),
        a_file("copy.py", a_program("amber0"), repository="cedar"),
        a_file("quoting.py", a_problem()["prompt"] + a_problem()["solution"], repository="birch"),
        a_file("query.sql", "select alpha, beta from gamma where delta > 1;\n"),
    ]
    corpora = clean_corpora(lake, files)
    folders = {
        folder
        for clean in corpora.values()
        for asset in (
            "documents",
            "near_duplicates",
            "held_out_repositories",
            "contamination",
            "tokenizer",
        )
        for folder in shards.input_folders(clean, asset)
    }
    digests = {
        folder.removeprefix(lake): shards.manifest(folder).digest
        for folder in sorted({*folders, *corpora.values()})
    }
    assert len(corpora) == len(RECIPE.languages)
    json.dump(digests, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
