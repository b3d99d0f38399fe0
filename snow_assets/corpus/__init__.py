"""Sources of code, benchmark problems and exemplars in; raw files with a licence each, out."""
