-- Kept documents with every annotator's score of their text.
select
    decisions.document_id,
    decisions.language,
    decisions.split,
    decisions.num_tokens,
    scores.annotator,
    scores.is_current,
    scores.logit
from {{ source('clean_corpus', 'decisions') }} as decisions
inner join {{ ref('stg_scores') }} as scores
    on scores.text_id = decisions.text_id and scores.language = decisions.language
where decisions.kept
