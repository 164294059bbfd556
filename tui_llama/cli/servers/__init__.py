"""Servers on the command line: which one is meant, their answers, and the commands that list and change them."""
