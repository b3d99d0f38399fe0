{% test share_of_one(model, column) %}
select *
from {{ model }}
where {{ column }} not between 0 and 1
{% endtest %}
