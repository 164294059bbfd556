"""Editing in two modes, as vim has it: moving and changing by letters, or writing."""
