"""Documents become exact packs, and packs become checkpoints."""
