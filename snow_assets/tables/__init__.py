"""The lake in; published tables that answer questions in SQL, out."""
