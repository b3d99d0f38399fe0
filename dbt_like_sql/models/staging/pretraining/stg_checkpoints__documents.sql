-- One model for the checkpoints of all phases: their tables have the same columns.
{% for phase in var('phases') -%}
select
    recipe,
    '{{ phase }}' as phase,
    generation as fingerprint,
    document_id,
    text_id,
    repository,
    license,
    language,
    num_tokens,
    num_passes
from {{ source(phase ~ '_checkpoint', 'seen') }}
{% if not loop.last %}union all
{% endif %}
{%- endfor %}
