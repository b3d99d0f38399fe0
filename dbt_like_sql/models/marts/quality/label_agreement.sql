-- Grades beside the annotators' scores; a document's grade is the mean of its graders'.
with graded as (

    select
        files.rowid as document_number,
        files.repeats,
        labels.grade,
        labels.grader
    from {{ ref('stg_manifests__labels') }} as labels
    inner join {{ ref('document_quality') }} as files on labels.document_id = files.document_id
    union all
    select
        files.rowid as document_number,
        files.repeats,
        labels.grade,
        labels.grader
    from {{ ref('stg_manifests__labels') }} as labels
    inner join {{ ref('document_quality') }} as files on labels.text_id = files.text_id
    where labels.document_id is null

),

grades as (

    select
        document_number,
        any_value(repeats) as repeats,
        avg(grade) as grade,
        list(distinct grader) as graders
    from graded
    group by document_number

),

labelled as (

    select
        scored.recipe,
        unnest([scored.language, 'all']) as language,
        scored.annotator_name,
        scored.annotator,
        scored.is_current,
        scored.is_selecting,
        scored.logit,
        grades.grade,
        grades.graders,
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
        rank() over by_grade + (count(*) over ties_by_grade - 1) / 2 as grade_rank,
        -- Among the good or the others, and how many of the other kind there are.
        rank() over kind_by_logit + (count(*) over ties_of_kind - 1) / 2 as kind_rank,
        count(*) over everything - count(*) over kind as num_other_kind
    from labelled
    window
        everything as (partition by recipe, language, annotator_name, annotator, is_current),
        kind as (partition by recipe, language, annotator_name, annotator, is_current, is_good),
        by_logit as (everything order by logit),
        by_grade as (everything order by grade),
        kind_by_logit as (kind order by logit),
        ties_by_logit as (by_logit groups between current row and current row),
        ties_by_grade as (by_grade groups between current row and current row),
        ties_of_kind as (kind_by_logit groups between current row and current row)

),

compared as (

    select
        recipe,
        language,
        annotator_name,
        annotator,
        is_current,
        bool_or(is_selecting) as is_selecting,
        count(*) as num_labels,
        count(*) filter (where is_good) as num_good,
        sum(logit_rank) filter (where is_good) as good_rank_sum,
        corr(logit_rank, grade_rank) as rank_correlation,
        -- DeLong's variance, by the share of the other kind that each document is above.
        var_samp((logit_rank - kind_rank) / nullif(num_other_kind, 0)) filter (where is_good)
        / count(*) filter (where is_good)
        + var_samp((logit_rank - kind_rank) / nullif(num_other_kind, 0)) filter (where not is_good)
        / count(*) filter (where not is_good) as auc_variance,
        list_distinct(flatten(list(graders))) as graders,
        count(*) filter (where is_good and is_selected) as num_good_selected,
        count(*) filter (where is_good and not is_selected) as num_good_refused,
        count(*) filter (where not is_good and is_selected) as num_poor_selected,
        count(*) filter (where not is_good and not is_selected) as num_poor_refused
    from ranked
    group by recipe, language, annotator_name, annotator, is_current

),

-- Without any variance the margins are by the rule of three.
margins as (

    select
        *,
        (good_rank_sum - num_good * (num_good + 1) / 2)
        / nullif(num_good * (num_labels - num_good), 0) as auc,
        coalesce(
            nullif(1.959964 * sqrt(auc_variance), 0), 3 / least(num_good, num_labels - num_good)
        ) as auc_margin,
        case when num_labels > 3 and isfinite(rank_correlation) then rank_correlation end
            as correlation
    from compared

)

select
    recipe,
    language,
    annotator_name,
    annotator,
    is_current,
    is_selecting,
    array_to_string(list_sort(graders), ', ') as graders,
    num_labels,
    num_good,
    auc,
    case when auc_variance is not null then greatest(auc - auc_margin, 0) end as auc_low,
    case when auc_variance is not null then least(auc + auc_margin, 1) end as auc_high,
    case when num_labels > 1 then rank_correlation end as rank_correlation,
    {{ correlation_bound('-', 'num_labels') }} as rank_correlation_low,
    {{ correlation_bound('+', 'num_labels') }} as rank_correlation_high,
    case when is_selecting then num_good_selected end as num_good_selected,
    case when is_selecting then num_good_refused end as num_good_refused,
    case when is_selecting then num_poor_selected end as num_poor_selected,
    case when is_selecting then num_poor_refused end as num_poor_refused
from margins
