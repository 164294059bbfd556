"""Chat templates: where a model's comes from, and how it is run safely."""
