"""Clean documents in; the good ones, and a model that can tell, out."""
