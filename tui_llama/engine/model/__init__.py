"""A loaded model: its file, plan and tokenizer together, and sequences of tokens in it."""
