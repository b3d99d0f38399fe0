select
    document_id,
    text_id,
    grade,
    grader
from {{ source('manifests', 'labels') }}
