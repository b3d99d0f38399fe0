-- Each current checkpoint with itself and every checkpoint that it was trained from.
with recursive checkpoints as (

    select recipe, asset, generation, is_current
    from {{ source('manifests', 'generations') }}
    where asset in ('general_checkpoint', 'continued_checkpoint', 'enhanced_checkpoint')

),

ancestry as (

    select recipe, asset as checkpoint, asset as phase_asset, generation as phase_generation
    from checkpoints
    where is_current
    union
    select ancestry.recipe, ancestry.checkpoint, inputs.input_asset, inputs.input_generation
    from ancestry
    inner join {{ source('manifests', 'inputs') }} as inputs
        on inputs.recipe = ancestry.recipe
        and inputs.asset = ancestry.phase_asset
        and inputs.generation = ancestry.phase_generation
    inner join checkpoints
        on checkpoints.recipe = inputs.recipe
        and checkpoints.asset = inputs.input_asset
        and checkpoints.generation = inputs.input_generation

)

select
    recipe,
    checkpoint,
    replace(phase_asset, '_checkpoint', '') as phase,
    phase_generation as generation
from ancestry
