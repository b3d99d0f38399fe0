-- Each former annotator beside the current one, on the trainable documents that both have scored.
{% set keys = 'language, former_annotator, annotator' -%}
with pairs as (

    select
        newer.language,
        former.annotator as former_annotator,
        newer.annotator,
        former.logit as former_logit,
        newer.logit,
        newer.num_tokens
    from {{ ref('stg_scored_documents') }} as former
    inner join {{ ref('stg_scored_documents') }} as newer using (document_number)
    where not former.is_current and newer.is_current and newer.split = 'train'

),

totals as (

    select
        {{ keys }},
        quantile_cont(former_logit, [{% for n in range(1, 10) %}0.{{ n }}{{ ', ' if not loop.last }}{% endfor %}]) as edges,
        count(*) as num_documents,
        sum(num_tokens)::bigint as num_tokens,
        avg(former_logit::double) as former_mean_logit,
        avg(logit::double) as mean_logit
    from pairs
    group by all

),

-- Ranks are those of the middle of equal scores; tokens are those of lower and equal scores.
ranked as (

    select
        {{ keys }},
        num_tokens,
        former_logit,
        logit,
        {% for score in ['former_logit', 'logit'] -%}
        rank() over by_{{ score }}
            + (count(*) over (by_{{ score }} groups between current row and current row) - 1) / 2
            as {{ score }}_rank,
        sum(num_tokens) over by_{{ score }} as {{ score }}_tokens{{ ',' if not loop.last }}
        {% endfor %}
    from pairs
    window
        by_former_logit as (partition by {{ keys }} order by former_logit),
        by_logit as (partition by {{ keys }} order by logit)

),

-- A document is above a cut if what scores higher does not fill the share that is selected.
placed as (

    select
        ranked.*,
        {{ tenth('ranked.former_logit', 'totals.edges') }} as former_tenth,
        {{ tenth('ranked.logit', 'totals.edges') }} as tenth,
        totals.num_tokens - former_logit_tokens < cut.selected_share * totals.num_tokens as was_in,
        totals.num_tokens - logit_tokens < cut.selected_share * totals.num_tokens as is_in
    from ranked
    inner join totals using ({{ keys }})
    inner join {{ ref('selection_cut') }} as cut using (language)

),

compared as (

    select
        {{ keys }},
        corr(former_logit_rank, logit_rank) as rank_correlation,
        count(*) filter (where is_in and not was_in) as num_entering,
        count(*) filter (where was_in and not is_in) as num_leaving,
        coalesce(sum(num_tokens) filter (where is_in != was_in), 0)::bigint as num_crossing_tokens
    from placed
    group by all

),

-- An empty bin counts as one file in ten thousand: the index is a logarithm.
shares as (

    select
        {{ keys }},
        bin,
        greatest(count(*) filter (where former_tenth = bin) / count(*), 0.0001) as before,
        greatest(count(*) filter (where tenth = bin) / count(*), 0.0001) as after
    from placed
    cross join range(10) as bins (bin)
    group by all

),

stability as (

    select {{ keys }}, sum((after - before) * ln(after / before)) as population_stability_index
    from shares
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
inner join compared using ({{ keys }})
inner join stability using ({{ keys }})
