-- The further annotators by whose scores the current subsets were selected. A language that is not
-- here is selected by the recipe's own annotator.
{{ config(materialized='table') }}
select
    inputs.recipe,
    inputs.partition as language,
    regexp_replace(inputs.input_asset, '_quality_scores$', '') as annotator_name
from {{ ref('stg_manifests__inputs') }} as inputs
semi join {{ ref('stg_manifests__artifacts') }} as artifacts
    on
        inputs.recipe = artifacts.recipe
        and inputs.asset = artifacts.asset
        and inputs.partition = artifacts.partition
        and inputs.fingerprint = artifacts.fingerprint
        and artifacts.is_current
where inputs.asset = 'high_quality_subset' and ends_with(inputs.input_asset, '_quality_scores')
