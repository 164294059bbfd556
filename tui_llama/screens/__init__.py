"""The screens: one to a file; each takes data and posts what the user wants."""
