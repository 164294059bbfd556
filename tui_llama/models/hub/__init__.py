"""Fetches model files from the Hugging Face hub."""
