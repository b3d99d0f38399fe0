{% macro correlation_bound(sign, num_pairs) -%}
{# An end ('-' or '+') of the 95 % interval of the rank correlation `correlation`, as in
   snow_assets/quality/correlation.py: Fisher's transformation with Bonett and Wright's variance; of
   a perfect correlation, the rule of three. #}
case
    when abs(correlation) < 1 - 1e-12
        then tanh(
            atanh(correlation)
            {{ sign }} 1.959964 * sqrt((1 + correlation ** 2 / 2) / greatest({{ num_pairs }} - 3, 1))
        )
    when correlation is not null
        then {{ 'greatest' if sign == '-' else 'least' }}(
            correlation {{ sign }} 3 / {{ num_pairs }}, {{ sign }} 1
        )
end
{%- endmacro %}
