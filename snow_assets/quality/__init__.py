"""Annotator of document quality: examples, training, gates, scores, and selection by percentile."""
