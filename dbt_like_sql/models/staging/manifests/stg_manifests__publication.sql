select
    recipe,
    inputs_digest
from {{ source('manifests', 'publication') }}
