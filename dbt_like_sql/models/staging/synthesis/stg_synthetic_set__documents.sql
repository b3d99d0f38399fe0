select
    recipe,
    document_id,
    text_id,
    language,
    num_tokens,
    seed_document_id,
    seed_repository,
    seed_license,
    prompt_version,
    engine,
    model,
    model_license,
    model_terms,
    coalesce(mode, 'oss_instruct') as mode,
    execution
from {{ source('synthetic_set', 'documents') }}
