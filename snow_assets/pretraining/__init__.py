"""Documents in; three checkpoints, each trained from the one before, out."""
