select
    recipe,
    asset,
    partition,
    generation as fingerprint,
    input_asset,
    input_partition,
    input_generation as input_fingerprint,
    input_digest
from {{ source('manifests', 'inputs') }}
