select
    recipe,
    asset,
    partition,
    fingerprint,
    input_asset,
    input_partition,
    input_fingerprint,
    input_digest
from {{ source('manifests', 'inputs') }}
