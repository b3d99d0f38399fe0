select
    recipe,
    asset,
    partition,
    fingerprint,
    digest,
    is_current,
    code_version,
    num_files,
    num_bytes,
    num_rows,
    num_tokens,
    stats
from {{ source('manifests', 'artifacts') }}
