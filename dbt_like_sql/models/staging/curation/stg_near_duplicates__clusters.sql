select
    recipe,
    document_id,
    cluster_id,
    is_survivor as is_canonical,
    kind,
    jaccard
from {{ source('near_duplicates', 'clusters') }}
