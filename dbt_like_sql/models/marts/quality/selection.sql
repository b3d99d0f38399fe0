-- A view: its rows are document_quality's, which has joined the lake's tables already. It names no
-- database, because the file that holds both is renamed when it is published.
{{ config(materialized='view') }}
select
    recipe,
    document_id,
    language,
    source,
    repository,
    path,
    license,
    logit,
    percentile,
    repeats,
    num_tokens,
    num_tokens * repeats as num_trained_tokens,
    text_id
from {{ ref('document_quality').include(database=false) }}
where repeats is not null
