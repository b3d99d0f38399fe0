"""SQL of the comparison of two recipes; the variables `before` and `after` name them."""

_DOCUMENTS = """
with documents as (
    select
        decisions.recipe,
        decisions.document_id,
        decisions.language,
        decisions.license,
        decisions.repository,
        decisions.path,
        decisions.kept,
        decisions.reason,
        coalesce(decisions.num_tokens, 0) as num_tokens,
        subset.logit,
        subset.percentile,
        coalesce(subset.repeats, 0) as repeats,
        subset.document_id is not null as is_ranked
    from clean_corpus.decisions as decisions
    left join high_quality_subset.documents as subset
        on decisions.recipe = subset.recipe and decisions.document_id = subset.document_id
),
"""

_PAIRS = (
    _DOCUMENTS
    + """
pairs as (
    select
        coalesce(old.document_id, new.document_id) as document_id,
        coalesce(old.language, new.language) as language,
        old,
        new
    from (select * from documents where recipe = getvariable('before')) as old
    full outer join (select * from documents where recipe = getvariable('after')) as new
        on old.document_id = new.document_id
),
"""
)

CHANGES = (
    _PAIRS
    + """
changes as (
    select
        'clean_corpus' as scope,
        if(coalesce(new.kept, false), 'entered', 'left') as direction,
        language,
        if(
            coalesce(new.kept, false),
            if(old.document_id is null, 'not read before', 'dropped before: ' || old.reason),
            if(new.document_id is null, 'not read any more', new.reason)
        ) as reason,
        if(coalesce(new.kept, false), new.num_tokens, old.num_tokens) as num_tokens
    from pairs
    where coalesce(old.kept, false) != coalesce(new.kept, false)
    union all
    select
        'high_quality_subset' as scope,
        if(coalesce(new.repeats, 0) > 0, 'entered', 'left') as direction,
        language,
        case
            when coalesce(new.repeats, 0) > 0 and not coalesce(old.kept, false)
                then 'not in the corpus before'
            when coalesce(new.repeats, 0) > 0 then 'below the cut before'
            when not coalesce(new.kept, false) then 'not in the corpus any more'
            else 'below the cut'
        end as reason,
        if(coalesce(new.repeats, 0) > 0, new.num_tokens, old.num_tokens) as num_tokens
    from pairs
    where (coalesce(old.repeats, 0) > 0) != (coalesce(new.repeats, 0) > 0)
)

select
    scope,
    direction,
    language,
    reason,
    count(*) as num_documents,
    cast(sum(num_tokens) as bigint) as num_tokens
from changes
group by all
order by scope desc, direction, num_documents desc, language, reason
"""
)

SCORE_DRIFT = (
    _PAIRS
    + """
ranked as (
    select
        language,
        old.logit as old_logit,
        new.logit as new_logit,
        old.percentile as old_percentile,
        new.percentile as new_percentile
    from pairs
    where old.is_ranked and new.is_ranked
)

select
    language,
    count(*) as num_documents,
    avg(new_logit - old_logit) as mean_logit_change,
    avg(abs(new_percentile - old_percentile)) as mean_percentile_change,
    corr(old_percentile, new_percentile) as percentile_correlation
from ranked
group by all
order by language
"""
)

BOUNDARY_FILES = (
    _DOCUMENTS
    + """
numbered as (
    select
        *,
        repeats > 0 as is_selected,
        row_number() over (
            partition by recipe, language, repeats > 0
            order by if(repeats > 0, logit, -logit), document_id
        ) as distance
    from documents
    where is_ranked
)

select
    language,
    cast(if(is_selected, -distance, distance) as bigint) as position,
    max(if(recipe = getvariable('before'), repository || '/' || path, null)) as path_before,
    max(if(recipe = getvariable('before'), logit, null)) as logit_before,
    max(if(recipe = getvariable('after'), repository || '/' || path, null)) as path_after,
    max(if(recipe = getvariable('after'), logit, null)) as logit_after
from numbered
where distance <= getvariable('boundary_files')
group by all
order by language, position
"""
)
"""Negative positions are selected, -1 the last one; 1 is the first that is not."""

MIXES = (
    _DOCUMENTS
    + """
scopes as (
    select 'clean_corpus' as scope, *, num_tokens as weight from documents where kept
    union all
    select 'high_quality_subset' as scope, *, num_tokens * repeats as weight
    from documents where repeats > 0
),

named as (
    select scope, recipe, weight, unnest([
        {'kind': 'language', 'name': language},
        {'kind': 'license', 'name': license},
        {'kind': 'repository', 'name': repository}
    ], recursive := true)
    from scopes
),

counted as (
    select
        scope,
        kind,
        name,
        cast(coalesce(sum(weight) filter (where recipe = getvariable('before')), 0) as bigint)
            as tokens_before,
        cast(coalesce(sum(weight) filter (where recipe = getvariable('after')), 0) as bigint)
            as tokens_after
    from named
    group by all
),

shares as (
    select
        *,
        tokens_before / nullif(sum(tokens_before) over (partition by scope, kind), 0)
            as share_before,
        tokens_after / nullif(sum(tokens_after) over (partition by scope, kind), 0) as share_after
    from counted
)

select *
from shares
qualify row_number() over (
    partition by scope, kind
    order by abs(coalesce(share_after, 0) - coalesce(share_before, 0)) desc, name
) <= 50
order by scope, kind, abs(coalesce(share_after, 0) - coalesce(share_before, 0)) desc, name
"""
)
"""Tokens, in the subset times repeats; of each kind the 50 names whose share changes the most."""

DUPLICATES = """
select
    kind,
    count(*) filter (where recipe = getvariable('before')) as num_before,
    count(*) filter (where recipe = getvariable('after')) as num_after
from near_duplicates.clusters
where kind is not null
group by all
order by kind
"""

QUERIES = {
    "changes": CHANGES,
    "score_drift": SCORE_DRIFT,
    "boundary_files": BOUNDARY_FILES,
    "mixes": MIXES,
    "duplicates": DUPLICATES,
}
"""Name of the stored table -> its query."""
