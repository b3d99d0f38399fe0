{% test accepted_range(model, column_name, min_value=none, max_value=none) %}
{% set minimum = column_name if min_value is none else min_value -%}
{% set maximum = column_name if max_value is none else max_value -%}
select *
from {{ model }}
where {{ column_name }} not between {{ minimum }} and {{ maximum }}
{% endtest %}
