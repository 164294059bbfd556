"""What `tui-llama doctor` looks at: a module for each section of its page, and one that goes through them."""
