-- Each current checkpoint with itself and every checkpoint that it was trained from.
with recursive checkpoints as (

    select
        recipe,
        asset,
        fingerprint,
        is_current
    from {{ ref('stg_manifests__artifacts') }}
    where ends_with(asset, '_checkpoint')

),

inputs as (

    select * from {{ ref('stg_manifests__inputs') }}

),

ancestry as (

    select
        recipe,
        asset as checkpoint,
        asset as phase_asset,
        fingerprint
    from checkpoints
    where is_current
    union
    select
        ancestry.recipe,
        ancestry.checkpoint,
        inputs.input_asset as phase_asset,
        inputs.input_fingerprint as fingerprint
    from ancestry
    inner join inputs
        on
            ancestry.recipe = inputs.recipe
            and ancestry.phase_asset = inputs.asset
            and ancestry.fingerprint = inputs.fingerprint
    inner join checkpoints
        on
            inputs.recipe = checkpoints.recipe
            and inputs.input_asset = checkpoints.asset
            and inputs.input_fingerprint = checkpoints.fingerprint

)

select
    recipe,
    checkpoint,
    replace(phase_asset, '_checkpoint', '') as phase,
    fingerprint
from ancestry
