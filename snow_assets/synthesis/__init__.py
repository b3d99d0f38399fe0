"""Good documents in; new documents that a model wrote from them, out."""
