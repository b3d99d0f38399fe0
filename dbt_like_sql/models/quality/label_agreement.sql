-- People's grades beside the annotators' scores; a document's grade is the mean of its graders'.
with grades as (

    select files.rowid as document_number, any_value(files.repeats) as repeats, avg(grade) as grade
    from {{ source('manifests', 'labels') }} as labels
    inner join {{ ref('document_quality') }} as files using (document_id)
    group by files.rowid

),

labelled as (

    select
        scored.recipe,
        unnest([scored.language, 'all']) as language,
        scored.annotator,
        scored.is_current,
        scored.logit,
        grades.grade,
        grades.grade >= {{ var('good_grade') }} as is_good,
        grades.repeats > 0 as is_selected
    from grades
    inner join {{ ref('stg_scored_documents') }} as scored using (document_number)

),

ranked as (

    select
        *,
        {% for value in ['logit', 'grade'] -%}
        rank() over by_{{ value }}
            + (count(*) over (by_{{ value }} groups between current row and current row) - 1) / 2
            as {{ value }}_rank{{ ',' if not loop.last }}
        {% endfor %}
    from labelled
    window
        by_logit as (partition by recipe, language, annotator, is_current order by logit),
        by_grade as (partition by recipe, language, annotator, is_current order by grade)

)

select
    recipe,
    language,
    annotator,
    is_current,
    count(*) as num_labels,
    count(*) filter (where is_good) as num_good,
    (sum(logit_rank) filter (where is_good) - num_good * (num_good + 1) / 2)
        / nullif(num_good * (num_labels - num_good), 0) as auc,
    case when num_labels > 1 then corr(logit_rank, grade_rank) end as rank_correlation,
    {% for good in [true, false] -%}
    {% for selected in [true, false] -%}
    case when is_current then
        count(*) filter (where is_good = {{ good }} and is_selected = {{ selected }})
    end as num_{{ 'good' if good else 'poor' }}_{{ 'selected' if selected else 'refused' }}{{ ',' if not (loop.last and not good) }}
    {% endfor -%}
    {% endfor -%}
from ranked
group by recipe, language, annotator, is_current
