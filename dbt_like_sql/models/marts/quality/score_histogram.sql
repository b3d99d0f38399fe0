{% set width = var('histogram_bin_logits') -%}
select
    recipe,
    language,
    annotator_name,
    annotator,
    is_current,
    is_selecting,
    floor(logit / {{ width }}) * {{ width }}::double as from_logit,
    (floor(logit / {{ width }}) + 1) * {{ width }}::double as to_logit,
    count(*) as num_documents,
    sum(num_tokens)::bigint as num_tokens
from {{ ref('scored_documents') }}
group by all
