{% test one_row_per(model, columns) %}
{% set quoted = columns | map('tojson') | join(', ') -%}
-- Hashes first: grouping millions of long names takes minutes, and few hashes meet by chance.
with repeated as ({{ repeated(model, quoted) }})

select {{ quoted }}, count(*) as num_rows
from {{ model }}
where hash({{ quoted }}) in (select hashed from repeated)
group by {{ quoted }}
having count(*) > 1
{% endtest %}
