"""The command `tui-llama doctor`: a module for each section of its page, and `examination`, which runs them all."""
