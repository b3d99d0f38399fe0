with totals as (

    select
        recipe,
        language,
        min(logit) filter (where repeats > 0) as cut,
        sum(num_tokens)::bigint as num_tokens,
        sum(num_tokens) filter (where repeats > 0)::bigint as num_selected_tokens
    from {{ ref('selection') }}
    group by recipe, language

)

select
    totals.recipe,
    totals.language,
    totals.cut,
    totals.num_tokens,
    coalesce(totals.num_selected_tokens, 0)::bigint as num_selected_tokens,
    coalesce(totals.num_selected_tokens / totals.num_tokens, 0) as selected_share,
    count(tied.document_id) as num_tied_documents,
    count(tied.document_id) filter (where tied.repeats > 0) as num_tied_selected,
    coalesce(sum(tied.num_tokens), 0)::bigint as num_tied_tokens
from totals
left join {{ ref('selection') }} as tied
    on
        totals.recipe = tied.recipe
        and totals.language = tied.language
        and totals.cut = tied.logit
group by all
