"""LaTeX mathematics as text."""
