select
    asset, "partition", generation, digest, is_current, code_version, recipe, num_files, num_bytes,
    num_rows, num_tokens, facts
from {{ source('manifests', 'generations') }}
