"""Values shared by several recipes."""

from snow_assets.recipe.data import ContaminationRecipe, FiltersRecipe, NearDuplicatesRecipe

PERMISSIVE_LICENSES = (
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "HPND",
    "ISC",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "NCSA",
    "PSF-2.0",
    "Python-2.0",
    "Unlicense",
    "Zlib",
)

STARCODER2_FILTERS = FiltersRecipe(
    max_lines=100_000,
    max_mean_line_chars=100,
    max_line_chars=1_000,
    max_line_chars_of_text=100_000,
    min_alphabetic_fraction=0.25,
    max_encoded_chars=1_024,
    max_encoded_fraction=0.5,
    max_data_lines=512,
    drop_unparsable=False,
)

# A pair at Jaccard 0.7 becomes a candidate with probability 0.995 (1 - (1 - 0.7**6)**42), in 252
# hashes; StarCoder2 used 250 (bigcode-dataset, near_deduplication).
STARCODER2_NEAR_DUPLICATES = NearDuplicatesRecipe(
    shingle_words=5, bands=42, rows_per_band=6, min_jaccard=0.7
)

CONTAMINATION = ContaminationRecipe(
    ngram_words=12, min_ngram_chars=40, min_substring_chars=40, gate_window_tokens=32
)
