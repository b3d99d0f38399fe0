{{ config(materialized='table') }}
-- The further annotators by which the recipes' subsets were selected, in whichever version. A
-- language that is not here is selected by the recipe's own annotator.
select distinct
    further.recipe,
    further.language,
    further.annotator_name
from {{ ref('stg_further_quality_scores__scores') }} as further
semi join {{ ref('stg_high_quality_subset__languages') }} using (recipe, language, annotator)
