"""Training, validation and use of the tokenizer."""
