-- A view: every phase's documents are held once, however many checkpoints inherit them. It names no
-- database, because the file that holds its parents is renamed when it is published.
{{ config(materialized='view') }}
select
    phases.recipe,
    phases.checkpoint,
    documents.phase,
    documents.document_id,
    documents.seed_document_id is not null as is_synthetic,
    coalesce(documents.seed_document_id, documents.document_id) as source_document_id,
    documents.source,
    documents.repository,
    documents.path,
    documents.license,
    documents.language,
    documents.num_tokens,
    documents.num_passes,
    documents.text_id
from {{ ref('checkpoint_phases').include(database=false) }} as phases
inner join {{ ref('phase_documents').include(database=false) }} as documents
    on
        phases.recipe = documents.recipe
        and phases.phase = documents.phase
        and phases.fingerprint = documents.fingerprint
