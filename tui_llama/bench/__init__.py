"""The command `tui-llama bench`: measures how fast models run, and how fast this machine could run them."""
