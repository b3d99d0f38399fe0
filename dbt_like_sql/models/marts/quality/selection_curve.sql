-- For each percent of a language's tokens: what ranks within it, the lowest score, what ties there.
with selection as not materialized (

    select * from {{ ref('selection') }}

),

steps as (

    select
        recipe,
        language,
        ceil((1 - percentile) * 100)::integer as percent,
        count(*) as num_documents,
        sum(num_tokens) as num_tokens,
        min(logit) as lowest_logit
    from selection
    group by all

),

languages as (

    select distinct
        recipe,
        language
    from steps

),

curve as (

    select
        languages.recipe,
        languages.language,
        percents.percent,
        sum(steps.num_documents) over from_the_top as num_documents,
        sum(steps.num_tokens) over from_the_top as num_tokens,
        sum(steps.num_tokens) over by_language as all_tokens,
        min(steps.lowest_logit) over from_the_top as threshold
    from languages
    cross join range(1, 101) as percents (percent)
    left join steps using (recipe, language, percent)
    window
        by_language as (partition by languages.recipe, languages.language),
        from_the_top as (by_language order by percents.percent)

),

ties as (

    select
        selection.recipe,
        selection.language,
        selection.logit as threshold,
        count(*) as num_documents,
        sum(selection.num_tokens) as num_tokens
    from selection
    semi join curve
        on
            selection.recipe = curve.recipe
            and selection.language = curve.language
            and selection.logit = curve.threshold
    group by selection.recipe, selection.language, selection.logit

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
left join ties using (recipe, language, threshold)
