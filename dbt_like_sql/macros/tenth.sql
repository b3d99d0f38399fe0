{% macro tenth(value, edges) -%}
{# Which of ten bins, from 0, a value falls into: `edges` is a list of the nine between them. #}
({% for edge in range(1, 10) %}({{ value }} > {{ edges }}[{{ edge }}])::integer{{ ' + ' if not loop.last }}{% endfor %})
{%- endmacro %}
