-- A view: every phase's documents are held once, however many checkpoints inherit them.
{{ config(materialized='view') }}
select
    phases.recipe,
    phases.checkpoint,
    seen.phase,
    seen.document_id,
    seen.seed_document_id is not null as is_synthetic,
    coalesce(seen.seed_document_id, seen.document_id) as source_document_id,
    seen.source,
    seen.repository,
    seen.path,
    seen.license,
    seen.language,
    seen.num_tokens,
    seen.num_passes,
    seen.text_id
from {{ ref('checkpoint_phases').include(database=false) }} as phases
inner join {{ ref('phase_documents').include(database=false) }} as seen
    on seen.recipe = phases.recipe
    and seen.phase = phases.phase
    and seen.generation = phases.generation
