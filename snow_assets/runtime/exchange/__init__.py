"""Functions over shards and over keys, run in this process or by Ray."""
