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
    model_terms
from {{ source('synthetic_set', 'documents') }}
