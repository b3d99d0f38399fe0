{% macro deduplicate(relation, keys, order_by) -%}
{# The first row of each key. Few keys repeat, so only rows whose hash does are sorted: a query
   that calls this names `duplicate_hashes(relation, keys)` as its CTE `duplicate_hashes`. #}
select {{ relation }}.*
from {{ relation }}
anti join duplicate_hashes on duplicate_hashes.key_hash = hash({{ keys }})
union all
select {{ relation }}.*
from {{ relation }}
semi join duplicate_hashes on duplicate_hashes.key_hash = hash({{ keys }})
qualify row_number() over (partition by {{ keys }} order by {{ order_by }}) = 1
{%- endmacro %}

{% macro duplicate_hashes(relation, keys) -%}
{# Sorted, equal hashes are neighbours: that takes half as long as to count each. #}
select key_hash
from (select hash({{ keys }}) as key_hash from {{ relation }}) as hashed
qualify key_hash = lag(key_hash) over (order by key_hash)
{%- endmacro %}
