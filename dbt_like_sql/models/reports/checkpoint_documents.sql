-- A view: every phase's documents are held once, however many checkpoints inherit them.
{{ config(materialized='view') }}
select
    phases.checkpoint,
    seen.phase,
    seen.document_id,
    seen.is_synthetic,
    seen.source_document_id,
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
    on seen.phase = phases.phase and seen.generation = phases.generation
