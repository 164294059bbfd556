"""The samplers, which choose the next token: one step after another over the candidates.

`chain` puts them in order, `candidates` is what they work on, and each family of steps has a module of its own.
"""
