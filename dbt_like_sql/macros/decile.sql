{% macro decile(value, edges) -%}
{# Which decile, from 0, a value falls into: `edges` is a list of the nine values between them. #}
len(list_filter({{ edges }}, lambda edge: edge < {{ value }}))::integer
{%- endmacro %}
