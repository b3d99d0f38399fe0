select
    recipe,
    inputs_digest
from {{ ref('stg_manifests__publication') }}
