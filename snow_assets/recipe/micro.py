"""MICRO: the paper's comparisons on some hundred packages of PyPI and npm, on two CPU cores.

The archives are pinned in `micro_archives.txt`; `make archives RECIPE=MICRO` fetches them. Stages
without a value here are SMOKE's.
"""

from dataclasses import replace

from snow_assets.home_folder import archives_folder
from snow_assets.recipe.annotator import ExemplarRecipe, FilePositives
from snow_assets.recipe.data import Source
from snow_assets.recipe.micro_experiments import PAPER_CLAIMS, STAGE_ABLATION
from snow_assets.recipe.smoke import SMOKE
from snow_assets.recipe.training import PhaseRecipe


def _archives(name: str, *, folder: str, files_per_repository: int) -> Source:
    return Source(
        name=name,
        kind="archives",
        locations=(str(archives_folder() / folder),),
        files_per_repository=files_per_repository,
    )


def _positives(name: str, *, folder: str, min_docstring_chars: int | None = None) -> FilePositives:
    """Files of a folder of archives; with `min_docstring_chars` documented functions alone."""
    return FilePositives(
        source=_archives(name, folder=folder, files_per_repository=40),
        min_docstring_chars=min_docstring_chars,
        max_positives=300,
        weight=1.0,
        includes_files=min_docstring_chars is None,
    )


def _phase(name: str, *, tokens: int, checkpoint_steps: int) -> PhaseRecipe:
    phase = SMOKE.pretraining.phase(name)
    return replace(phase, tokens=tokens, checkpoint_steps=checkpoint_steps)


MICRO = replace(
    SMOKE,
    name="MICRO",
    corpus=replace(
        SMOKE.corpus,
        sources=(
            _archives("python", folder="python", files_per_repository=24),
            _archives("javascript", folder="javascript", files_per_repository=20),
            _archives("native", folder="native", files_per_repository=40),
        ),
        max_file_bytes=200_000,
        min_repositories=200,
        shard_bytes=8_000_000,
    ),
    exemplars=ExemplarRecipe(
        groups=(
            _positives("functions", folder="standing", min_docstring_chars=80),
            _positives("standing", folder="standing"),
            _positives("ordinary", folder="ordinary"),  # drawn by hash: a control
            _positives("generated", folder="generated"),  # clients and messages that programs wrote
        )
    ),
    curation=replace(
        SMOKE.curation,
        languages=("c", "cpp", "javascript", "python"),
        held_out_tolerance=0.3,
        seed=0,
    ),
    annotator=replace(
        SMOKE.annotator,
        positive_groups=("functions", "standing"),
        max_positives=600,
        validation_negatives=400,
        min_auc=0.5,
        min_length_matched_auc=0.5,
        min_benchmark_auc=0.5,
    ),
    selection=replace(SMOKE.selection, ungated_languages=("c", "cpp", "javascript")),
    synthesis=replace(SMOKE.synthesis, num_requests=96, chunk_requests=48),
    pretraining=replace(
        SMOKE.pretraining,
        phases=(
            _phase("general", tokens=786_432, checkpoint_steps=96),
            _phase("continued", tokens=196_608, checkpoint_steps=96),
            _phase("enhanced", tokens=24_576, checkpoint_steps=24),
        ),
    ),
    operation=replace(SMOKE.operation, archive_pins="snow_assets/recipe/micro_archives.txt"),
    experiments=(PAPER_CLAIMS, STAGE_ABLATION),
)
