select
    synthetic.recipe,
    synthetic.document_id,
    synthetic.language,
    synthetic.num_tokens,
    synthetic.seed_repository,
    seeds.path as seed_path,
    synthetic.seed_license,
    synthetic.seed_document_id,
    synthetic.prompt_version,
    synthetic.engine,
    synthetic.model,
    synthetic.model_license,
    synthetic.model_terms,
    synthetic.text_id,
    synthetic.mode,
    synthetic.execution
from {{ ref('stg_synthetic_set__documents') }} as synthetic
left join {{ ref('document_quality') }} as seeds
    on
        synthetic.recipe = seeds.recipe
        and synthetic.seed_document_id = seeds.document_id
