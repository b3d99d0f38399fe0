select inputs_digest, recipe from {{ source('manifests', 'publication') }}
