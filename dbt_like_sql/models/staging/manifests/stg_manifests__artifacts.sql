select
    recipe,
    asset,
    partition,
    generation as fingerprint,
    digest,
    is_current,
    code_version,
    num_files,
    num_bytes,
    num_rows,
    num_tokens,
    stats
from {{ source('manifests', 'artifacts') }}
