{% macro one_per(relation, keys, order_by) -%}
{# The first row of each key. Few keys repeat, so only rows whose hash does are sorted: a query
   that asks for this names `repeated(relation, keys)` as its CTE `repeated`. #}
select * from {{ relation }}
anti join repeated on repeated.hashed = hash({{ keys }})
union all
select * from {{ relation }}
semi join repeated on repeated.hashed = hash({{ keys }})
qualify row_number() over (partition by {{ keys }} order by {{ order_by }}) = 1
{%- endmacro %}

{% macro repeated(relation, keys) -%}
{# Sorted hashes lie beside their equals: that takes half as long as to count each. #}
select hashed
from (select hash({{ keys }}) as hashed from {{ relation }})
qualify hashed = lag(hashed) over (order by hashed)
{%- endmacro %}
