"""The Markdown of answers: how it is parsed, cut into parts, and drawn."""
