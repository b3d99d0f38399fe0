select
    selected.document_id,
    selected."partition" as language,
    decisions.source,
    selected.repository,
    decisions.path,
    selected.license,
    selected.logit,
    selected.percentile,
    selected.repeats,
    selected.num_tokens,
    selected.num_tokens * selected.repeats as num_trained_tokens,
    selected.text_id
from {{ source('high_quality_subset', 'documents') }} as selected
left join {{ source('clean_corpus', 'decisions') }} as decisions using (document_id)
