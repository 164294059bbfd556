"""Draws the conversation and what stands around it."""
