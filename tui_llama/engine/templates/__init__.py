"""Chat templates: where a model's template comes from, and how it is run safely."""
