"""What the figures of the README come from: each a program with --help."""
