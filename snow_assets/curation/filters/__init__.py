"""Quality signals of documents, and heuristic filters on them."""
