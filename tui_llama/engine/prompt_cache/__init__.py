"""Keys and values on the disk: which stored prefix fits a prompt, what is kept, what is evicted."""
