"""Exact and near deduplication of all documents that pass the filters.

Exact duplicates share a `text_id`. Near duplicates are candidate pairs of banded MinHash (Broder
1997; Leskovec, Rajaraman, Ullman, chapter 3) whose exact Jaccard similarity of shingles reaches the
threshold. A cluster is a connected component of exact duplicates and verified pairs; one document
of it is kept.

Four artifacts: `signatures`, `candidate_pairs` (module `candidates`), `verified_pairs`
(`verification`) and `near_duplicates` (`canonical_documents`). The comparison reads stored
signatures and the documents' columns without text, so a new source costs its own signatures and the
comparison. The result does not depend on the order of documents or sources, nor on the executor,
and equals that of a full run.
"""
