with counted as (

    select
        recipe,
        language,
        coalesce(kept, false) as kept,
        unnest([
            {kind: 'email', number: num_redacted_emails},
            {kind: 'key', number: num_redacted_keys},
            {kind: 'password', number: num_redacted_passwords}
        ], recursive := true)
    from {{ ref('document_quality') }}
    where num_redacted_emails + num_redacted_keys + num_redacted_passwords > 0

)

select
    recipe,
    language,
    kind,
    sum(number)::bigint as num_redactions,
    count(*) as num_documents,
    coalesce(sum(number) filter (where kept), 0)::bigint as num_kept_redactions,
    count(*) filter (where kept) as num_kept_documents
from counted
where number > 0
group by recipe, language, kind
