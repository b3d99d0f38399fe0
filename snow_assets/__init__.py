"""Raw code in; three chained checkpoints, and the answers to what they were made of, out."""
