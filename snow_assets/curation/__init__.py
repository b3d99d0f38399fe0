"""Raw files in; clean documents, and a reason for each that is not, out."""
