{% test one_row_per(model, columns) %}
{% set quoted = columns | map('tojson') | join(', ') -%}
select {{ quoted }}, count(*) as num_rows
from {{ model }}
group by {{ quoted }}
having count(*) > 1
{% endtest %}
