select
    recipe,
    document_id,
    cluster_id,
    is_canonical,
    kind,
    jaccard
from {{ source('near_duplicates', 'clusters') }}
