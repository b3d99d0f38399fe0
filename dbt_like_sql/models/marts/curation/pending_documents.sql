select
    recipe,
    document_id,
    language,
    repository,
    path,
    num_tokens,
    case when kept is null then 'decision' else 'score' end as pending
from {{ ref('document_quality') }}
where
    (kept is null and stage != 'raw_code_corpus')
    or (kept and split = 'train' and logit is null)
