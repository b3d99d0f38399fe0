with counted as (

    {% for kind in ['email', 'key', 'password'] -%}
    select
        recipe,
        language,
        '{{ kind }}' as kind,
        coalesce(kept, false) as kept,
        num_redacted_{{ kind }}s as num_redactions
    from {{ ref('document_quality') }}
    where num_redacted_{{ kind }}s > 0
    {%- if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}

)

select
    recipe,
    language,
    kind,
    sum(num_redactions)::bigint as num_redactions,
    count(*) as num_documents,
    coalesce(sum(num_redactions) filter (where kept), 0)::bigint as num_kept_redactions,
    count(*) filter (where kept) as num_kept_documents
from counted
group by recipe, language, kind
