"""Asset checks of packs and checkpoints; `gates` enforces the same before packs are used."""

import dagster as dg

from snow_assets import shards
from snow_assets.materialize import check_result, upstream
from snow_assets.pretraining import gates
from snow_assets.pretraining.packs import validate_packs
from snow_assets.recipe import Recipe
from snow_resources.lake import Lake


def _packs_are_exact(phase: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=f"{phase}_packs", name="packs_are_exact", blocking=True)
    def check(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
        """Exactly the phase's tokens, each covered by one span, in single-language sequences."""
        violations = validate_packs(
            upstream(lake, recipe, f"{phase}_packs").folder,
            tokens=getattr(recipe.pretraining, phase).tokens,
            context_tokens=recipe.pretraining.model.context_tokens,
        )
        return check_result(violations)

    return check


def _nothing_is_held_out(phase: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=f"{phase}_packs", name="nothing_is_held_out", blocking=True)
    def check(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
        """No held-out document or near duplicate of one is in the packs or was a seed of them."""
        packs = upstream(lake, recipe, f"{phase}_packs").folder
        try:
            gates.refuse_held_out(packs, shards.input_folders(packs, "clean_corpus"))
        except ValueError as refused:
            return check_result([str(refused)])
        return check_result([])

    return check


def _loss_fell(phase: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=f"{phase}_checkpoint", name="loss_fell")
    def check(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
        """The last step's loss is below the first step's."""
        stats = shards.manifest(upstream(lake, recipe, f"{phase}_checkpoint").folder).facts
        return dg.AssetCheckResult(
            passed=stats["last_loss_bits"] < stats["first_loss_bits"],
            severity=dg.AssetCheckSeverity.WARN,
            metadata={name: stats[name] for name in ("first_loss_bits", "last_loss_bits")},
        )

    return check


general_packs_are_exact = _packs_are_exact("general")
continued_packs_are_exact = _packs_are_exact("continued")
enhanced_packs_are_exact = _packs_are_exact("enhanced")
nothing_of_general_packs_is_held_out = _nothing_is_held_out("general")
nothing_of_continued_packs_is_held_out = _nothing_is_held_out("continued")
nothing_of_enhanced_packs_is_held_out = _nothing_is_held_out("enhanced")
general_loss_fell = _loss_fell("general")
continued_loss_fell = _loss_fell("continued")
enhanced_loss_fell = _loss_fell("enhanced")


@dg.asset_check(asset="enhanced_packs")
def python_has_its_share(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """Python has the recipe's share of the tokens; otherwise the note gives the reason."""
    stats = shards.manifest(upstream(lake, recipe, "enhanced_packs").folder).facts
    return dg.AssetCheckResult(
        passed=stats["note"] is None,
        severity=dg.AssetCheckSeverity.WARN,
        description=stats["note"],
        metadata={"share": stats["python_share"], "wished": stats["python_share_wished"] or 0.0},
    )
