select
    recipe,
    asset,
    partition,
    fingerprint,
    input_asset,
    input_partition,
    input_fingerprint,
    input_digest
from {{ ref('stg_manifests__inputs') }}
