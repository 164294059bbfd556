"""Sends and stops, prefills ahead, and shows what the model is given."""
