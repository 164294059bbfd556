"""The programs that measure the figures of the README. Each has --help."""
