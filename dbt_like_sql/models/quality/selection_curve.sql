-- For each percent of a language's tokens: what ranks within it, the lowest score, what ties there.
with steps as (

    select
        recipe,
        language,
        ceil((1 - percentile) * 100)::integer as percent,
        count(*) as num_documents,
        sum(num_tokens) as num_tokens,
        min(logit) as lowest_logit
    from {{ ref('selection') }}
    group by all

),

curve as (

    select
        languages.recipe,
        languages.language,
        percents.percent,
        sum(steps.num_documents) over from_the_top as num_documents,
        sum(steps.num_tokens) over from_the_top as num_tokens,
        sum(steps.num_tokens) over (partition by languages.recipe, languages.language) as all_tokens,
        min(steps.lowest_logit) over from_the_top as threshold
    from (select distinct recipe, language from steps) as languages
    cross join range(1, 101) as percents (percent)
    left join steps
        on steps.recipe = languages.recipe
        and steps.language = languages.language
        and steps.percent = percents.percent
    window from_the_top as (partition by languages.recipe, languages.language order by percents.percent)

),

ties as (

    select recipe, language, logit, count(*) as num_documents, sum(num_tokens) as num_tokens
    from {{ ref('selection') }}
    semi join curve
        on curve.recipe = selection.recipe
        and curve.language = selection.language
        and curve.threshold = selection.logit
    group by recipe, language, logit

)

select
    curve.recipe,
    curve.language,
    curve.percent::integer as percent,
    curve.threshold,
    coalesce(curve.num_documents, 0)::bigint as num_documents,
    coalesce(curve.num_tokens, 0)::bigint as num_tokens,
    coalesce(curve.num_tokens / curve.all_tokens, 0) as share_of_tokens,
    coalesce(ties.num_documents, 0)::bigint as num_tied_documents,
    coalesce(ties.num_tokens, 0)::bigint as num_tied_tokens
from curve
left join ties
    on ties.recipe = curve.recipe
    and ties.language = curve.language
    and ties.logit = curve.threshold
