-- What each phase trained on, listed under every checkpoint that inherits it.
select ancestry.checkpoint, seen.* exclude (generation)
from {{ ref('stg_checkpoint_ancestry') }} as ancestry
inner join {{ ref('stg_seen_documents') }} as seen
    on seen.phase = ancestry.phase and seen.generation = ancestry.generation
