{% test unique_combination_of_columns(model, combination_of_columns) %}
{% set keys = combination_of_columns | map('tojson') | join(', ') -%}
-- Hashes first: grouping millions of long names takes minutes, and few hashes meet by chance.
with duplicate_hashes as ({{ duplicate_hashes(model, keys) }})

select
    {{ keys }},
    count(*) as num_rows
from {{ model }}
where hash({{ keys }}) in (select key_hash from duplicate_hashes)
group by {{ keys }}
having count(*) > 1
{% endtest %}
