-- Each former annotator beside the current one, on the trainable documents that both have scored.
-- A pair has a number: sorting its five names along with every document takes four times as long.
with pairs as not materialized (

    select
        hash(recipe, language, annotator_name, former_annotator, annotator) as pair,
        recipe,
        language,
        annotator_name,
        former_annotator,
        annotator,
        former_logit,
        logit,
        num_tokens
    from {{ ref('former_scores') }}
    where split = 'train' and annotator is not null

),

totals as (

    select
        pair,
        any_value(recipe) as recipe,
        any_value(language) as language,
        any_value(annotator_name) as annotator_name,
        any_value(former_annotator) as former_annotator,
        any_value(annotator) as annotator,
        quantile_cont(former_logit, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]) as edges,
        count(*) as num_documents,
        sum(num_tokens)::bigint as num_tokens,
        avg(former_logit::double) as former_mean_logit,
        avg(logit::double) as mean_logit
    from pairs
    group by pair

),

decile_counts as (

    select
        pairs.pair,
        {{ decile('pairs.former_logit', 'totals.edges') }} as former_decile,
        {{ decile('pairs.logit', 'totals.edges') }} as current_decile,
        count(*) as num_documents
    from pairs
    inner join totals using (pair)
    group by all

),

-- An empty decile counts as one file in ten thousand: the index is a logarithm.
shares as (

    select
        counts.pair,
        deciles.decile,
        greatest(
            sum(counts.num_documents) filter (where counts.former_decile = deciles.decile)
            / sum(counts.num_documents),
            0.0001
        ) as former_share,
        greatest(
            sum(counts.num_documents) filter (where counts.current_decile = deciles.decile)
            / sum(counts.num_documents),
            0.0001
        ) as current_share
    from decile_counts as counts
    cross join range(10) as deciles (decile)
    group by counts.pair, deciles.decile

),

stability as (

    select
        pair,
        sum((current_share - former_share) * ln(current_share / former_share))
            as population_stability_index
    from shares
    group by pair

),

-- Ranks are those of the middle of equal scores; tokens are those of lower and equal scores.
ranked as (

    select
        pair,
        num_tokens,
        (rank() over by_former_logit + count(*) over by_former_logit) / 2 as former_logit_rank,
        sum(num_tokens) over by_former_logit as former_logit_tokens,
        (rank() over by_logit + count(*) over by_logit) / 2 as logit_rank,
        sum(num_tokens) over by_logit as logit_tokens
    from pairs
    window
        by_former_logit as (partition by pair order by former_logit),
        by_logit as (partition by pair order by logit)

),

cuts as (

    select
        totals.pair,
        totals.num_tokens,
        cut.selected_share * totals.num_tokens as num_selected_tokens
    from totals
    inner join {{ ref('selection_cut') }} as cut using (recipe, language)

),

-- A document is above a cut if what scores higher does not fill the share that is selected.
selections as (

    select
        ranked.*,
        cuts.num_tokens - ranked.former_logit_tokens < cuts.num_selected_tokens as was_selected,
        cuts.num_tokens - ranked.logit_tokens < cuts.num_selected_tokens as is_selected
    from ranked
    inner join cuts using (pair)

),

compared as (

    select
        pair,
        corr(former_logit_rank, logit_rank) as rank_correlation,
        count(*) filter (where is_selected and not was_selected) as num_entering,
        count(*) filter (where was_selected and not is_selected) as num_leaving,
        sum(num_tokens) filter (where is_selected != was_selected) as num_crossing_tokens
    from selections
    group by pair

)

select
    totals.recipe,
    totals.language,
    totals.annotator_name,
    totals.former_annotator,
    totals.annotator,
    totals.num_documents,
    totals.num_tokens,
    totals.former_mean_logit,
    totals.mean_logit,
    stability.population_stability_index,
    compared.rank_correlation,
    compared.num_entering,
    compared.num_leaving,
    coalesce(compared.num_crossing_tokens, 0)::bigint as num_crossing_tokens
from totals
inner join compared using (pair)
inner join stability using (pair)
