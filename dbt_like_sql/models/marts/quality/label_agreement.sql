-- People's grades beside the annotators' scores; a document's grade is the mean of its graders'.
with grades as (

    select
        files.rowid as document_number,
        any_value(files.repeats) as repeats,
        avg(labels.grade) as grade
    from {{ ref('stg_manifests__labels') }} as labels
    inner join {{ ref('document_quality') }} as files on labels.document_id = files.document_id
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
    inner join {{ ref('scored_documents') }} as scored using (document_number)

),

-- Equal values share their middle rank.
ranked as (

    select
        *,
        rank() over by_logit + (count(*) over ties_by_logit - 1) / 2 as logit_rank,
        rank() over by_grade + (count(*) over ties_by_grade - 1) / 2 as grade_rank
    from labelled
    window
        by_logit as (partition by recipe, language, annotator, is_current order by logit),
        by_grade as (partition by recipe, language, annotator, is_current order by grade),
        ties_by_logit as (by_logit groups between current row and current row),
        ties_by_grade as (by_grade groups between current row and current row)

),

compared as (

    select
        recipe,
        language,
        annotator,
        is_current,
        count(*) as num_labels,
        count(*) filter (where is_good) as num_good,
        sum(logit_rank) filter (where is_good) as good_rank_sum,
        corr(logit_rank, grade_rank) as rank_correlation,
        count(*) filter (where is_good and is_selected) as num_good_selected,
        count(*) filter (where is_good and not is_selected) as num_good_refused,
        count(*) filter (where not is_good and is_selected) as num_poor_selected,
        count(*) filter (where not is_good and not is_selected) as num_poor_refused
    from ranked
    group by recipe, language, annotator, is_current

)

select
    recipe,
    language,
    annotator,
    is_current,
    num_labels,
    num_good,
    (good_rank_sum - num_good * (num_good + 1) / 2)
    / nullif(num_good * (num_labels - num_good), 0) as auc,
    case when num_labels > 1 then rank_correlation end as rank_correlation,
    case when is_current then num_good_selected end as num_good_selected,
    case when is_current then num_good_refused end as num_good_refused,
    case when is_current then num_poor_selected end as num_poor_selected,
    case when is_current then num_poor_refused end as num_poor_refused
from compared
