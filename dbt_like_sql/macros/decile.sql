{% macro decile(value, edges) -%}
{# Which decile, from 0, a value falls into: `edges` is a list of the nine values between them. Nine
   comparisons take half the time of a lambda. #}
({{ value }} > {{ edges }}[1])::integer
{%- for edge in range(2, 10) %}
+ ({{ value }} > {{ edges }}[{{ edge }}])::integer
{%- endfor -%}
{%- endmacro %}
