select
    document_id,
    grade,
    grader
from {{ source('manifests', 'labels') }}
