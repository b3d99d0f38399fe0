select
    recipe,
    document_id,
    source,
    repository,
    revision,
    path,
    license
from {{ source('raw_code_corpus', 'files') }}
