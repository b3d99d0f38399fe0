-- Each further annotator beside the recipe's own, on the texts that both have scored now.
with pairs as (

    select
        own.recipe,
        own.language,
        own.annotator,
        further.annotator_name as further_name,
        further.annotator as further_annotator,
        own.text_id,
        own.logit,
        further.logit as further_logit
    from {{ ref('score_history') }} as own
    inner join {{ ref('score_history') }} as further
        on
            own.recipe = further.recipe
            and own.language = further.language
            and own.text_id = further.text_id
    where
        own.is_current
        and own.annotator_name is null
        and further.is_current
        and further.annotator_name is not null

),

-- Equal values share their middle rank; of the top, the order of the ids decides.
ranked as (

    select
        *,
        rank() over by_logit + (count(*) over ties - 1) / 2 as logit_rank,
        rank() over by_further + (count(*) over further_ties - 1) / 2 as further_rank,
        row_number() over (pair order by logit desc, text_id asc) as place,
        row_number() over (pair order by further_logit desc, text_id asc) as further_place,
        ceil(count(*) over pair / 100)::bigint as num_top_percent,
        ceil(count(*) over pair / 10)::bigint as num_top_tenth
    from pairs
    window
        pair as (partition by recipe, language, annotator, further_name, further_annotator),
        by_logit as (pair order by logit),
        by_further as (pair order by further_logit),
        ties as (by_logit groups between current row and current row),
        further_ties as (by_further groups between current row and current row)

),

compared as (

    select
        recipe,
        language,
        annotator,
        further_name,
        further_annotator,
        count(*) as num_texts,
        avg(logit::double) as mean_logit,
        avg(further_logit::double) as further_mean_logit,
        corr(logit_rank, further_rank) as rank_correlation,
        case when count(*) > 3 and isfinite(rank_correlation) then rank_correlation end
            as correlation,
        any_value(num_top_percent) as num_top_percent,
        count(*) filter (where place <= num_top_percent and further_place <= num_top_percent)
        / any_value(num_top_percent) as top_percent_shared,
        count(*) filter (where place <= num_top_tenth and further_place <= num_top_tenth)
        / any_value(num_top_tenth) as top_tenth_shared
    from ranked
    group by recipe, language, annotator, further_name, further_annotator

)

select
    recipe,
    language,
    annotator,
    further_name,
    further_annotator,
    num_texts,
    mean_logit,
    further_mean_logit,
    rank_correlation,
    {{ correlation_bound('-', 'num_texts') }} as rank_correlation_low,
    {{ correlation_bound('+', 'num_texts') }} as rank_correlation_high,
    num_top_percent,
    top_percent_shared,
    top_tenth_shared
from compared
