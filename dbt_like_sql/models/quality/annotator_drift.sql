-- Each former annotator beside the current one, on the trainable documents that both have scored.
{% set keys = 'recipe, language, former_annotator, annotator' -%}
-- A pair has a number: sorting its four names along with every document takes four times as long.
with pairs as not materialized (

    select hash({{ keys }}) as pair, {{ keys }}, former_logit, logit, num_tokens
    from {{ ref('stg_former_scores') }}
    where split = 'train' and annotator is not null

),

totals as (

    select
        pair,
        {% for key in keys.split(', ') -%}
        any_value({{ key }}) as {{ key }},
        {% endfor -%}
        quantile_cont(former_logit, [{% for n in range(1, 10) %}0.{{ n }}{{ ', ' if not loop.last }}{% endfor %}]) as edges,
        count(*) as num_documents,
        sum(num_tokens)::bigint as num_tokens,
        avg(former_logit::double) as former_mean_logit,
        avg(logit::double) as mean_logit
    from pairs
    group by pair

),

moves as (

    select
        pair,
        {{ tenth('former_logit', 'edges') }} as former_tenth,
        {{ tenth('logit', 'edges') }} as tenth,
        count(*) as num_documents
    from pairs
    inner join (select pair, edges from totals) using (pair)
    group by all

),

-- An empty bin counts as one file in ten thousand: the index is a logarithm.
shares as (

    select
        pair,
        bin,
        {% for when, name in [('former_tenth', 'before'), ('tenth', 'after')] -%}
        greatest(
            coalesce(sum(num_documents) filter (where {{ when }} = bin), 0) / sum(num_documents), 0.0001
        ) as {{ name }}{{ ',' if not loop.last }}
        {% endfor %}
    from moves
    cross join range(10) as bins (bin)
    group by all

),

stability as (

    select pair, sum((after - before) * ln(after / before)) as population_stability_index
    from shares
    group by all

),

-- Ranks are those of the middle of equal scores; tokens are those of lower and equal scores.
ranked as (

    select
        pair,
        num_tokens,
        {% for score in ['former_logit', 'logit'] -%}
        (rank() over by_{{ score }} + count(*) over by_{{ score }}) / 2 as {{ score }}_rank,
        sum(num_tokens) over by_{{ score }} as {{ score }}_tokens{{ ',' if not loop.last }}
        {% endfor %}
    from pairs
    window
        by_former_logit as (partition by pair order by former_logit),
        by_logit as (partition by pair order by logit)

),

-- A document is above a cut if what scores higher does not fill the share that is selected.
placed as (

    select
        ranked.*,
        totals.num_tokens - former_logit_tokens < cut.selected_share * totals.num_tokens as was_in,
        totals.num_tokens - logit_tokens < cut.selected_share * totals.num_tokens as is_in
    from ranked
    inner join totals using (pair)
    inner join {{ ref('selection_cut') }} as cut using (recipe, language)

),

compared as (

    select
        pair,
        corr(former_logit_rank, logit_rank) as rank_correlation,
        count(*) filter (where is_in and not was_in) as num_entering,
        count(*) filter (where was_in and not is_in) as num_leaving,
        coalesce(sum(num_tokens) filter (where is_in != was_in), 0)::bigint as num_crossing_tokens
    from placed
    group by all

)

select
    {{ keys }},
    totals.num_documents,
    totals.num_tokens,
    totals.former_mean_logit,
    totals.mean_logit,
    stability.population_stability_index,
    compared.rank_correlation,
    compared.num_entering,
    compared.num_leaving,
    compared.num_crossing_tokens
from totals
inner join compared using (pair)
inner join stability using (pair)
