select
    recipe, asset, "partition", generation, input_asset, input_partition, input_generation,
    input_digest
from {{ source('manifests', 'inputs') }}
