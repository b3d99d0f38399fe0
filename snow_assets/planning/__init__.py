"""What a recipe would do and what it costs; what nothing needs any more."""
