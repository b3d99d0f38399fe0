"""Asset checks of packs and checkpoints; `gates` enforces the same before packs are used."""

from collections.abc import Mapping, Sequence

import dagster as dg

from snow_assets.defs.curation import clean_corpus
from snow_assets.defs.materialize import check_result, current_artifact
from snow_assets.defs.stalled_training import steps_go_on
from snow_assets.recipe import PhaseRecipe, Recipe
from snow_assets.runtime.exchange.chosen import open_exchange
from snow_assets.stages import Stage
from snow_assets.storage import shards
from snow_resources.lake import Lake


def _packs_are_exact(phase: str, packs: Stage) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=packs.name, name="packs_are_exact", blocking=True)
    def check(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
        """Exactly the phase's tokens, each covered by one span, in single-language sequences."""
        from snow_assets.pretraining.packs import validate_packs

        violations = validate_packs(
            current_artifact(lake, recipe, packs.name).folder,
            tokens=recipe.pretraining.phase(phase).tokens,
            max_seq_len=recipe.pretraining.model.max_seq_len,
        )
        return check_result(violations)

    return check


def _nothing_is_held_out(packs: Stage) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=packs.name, name="nothing_is_held_out", blocking=True)
    def check(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
        """No held-out document or near duplicate of one is in the packs or was a seed of them."""
        from snow_assets.pretraining import gates

        folder = current_artifact(lake, recipe, packs.name).folder
        clean_folders = shards.input_folders(folder, clean_corpus.name)
        try:
            with open_exchange() as exchange:
                gates.assert_packs_not_held_out(folder, clean_folders, exchange=exchange)
        except ValueError as error:
            return check_result([str(error)])
        return check_result([])

    return check


def _loss_fell(checkpoint: Stage) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=checkpoint.name, name="loss_fell")
    def check(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
        """The last step's loss is below the first step's."""
        stats = shards.manifest(current_artifact(lake, recipe, checkpoint.name).folder).stats
        return dg.AssetCheckResult(
            passed=stats["last_loss_bits"] < stats["first_loss_bits"],
            severity=dg.AssetCheckSeverity.WARN,
            metadata={name: stats[name] for name in ("first_loss_bits", "last_loss_bits")},
        )

    return check


def _python_has_its_share(packs: Stage) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=packs.name, name="python_has_its_share")
    def check(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
        """Python has the recipe's share of the tokens; otherwise the note gives the reason."""
        stats = shards.manifest(current_artifact(lake, recipe, packs.name).folder).stats
        return dg.AssetCheckResult(
            passed=stats["note"] is None,
            severity=dg.AssetCheckSeverity.WARN,
            description=stats["note"],
            metadata={
                "share": stats["python_fraction"],
                "wished": stats["python_fraction_wished"] or 0.0,
            },
        )

    return check


def phase_checks(
    phases: Sequence[PhaseRecipe], packs: Mapping[str, Stage], checkpoints: Mapping[str, Stage]
) -> list[dg.AssetChecksDefinition]:
    """The checks of every phase's stages, which are given by the phase's name."""
    return [
        *(_packs_are_exact(phase.name, packs[phase.name]) for phase in phases),
        *(_nothing_is_held_out(packs[phase.name]) for phase in phases),
        *(_loss_fell(checkpoints[phase.name]) for phase in phases),
        *(steps_go_on(checkpoints[phase.name]) for phase in phases),
        *(
            _python_has_its_share(packs[phase.name])
            for phase in phases
            if phase.python_fraction is not None
        ),
    ]
