"""The parts that screens are made of: one to a file; each takes data and posts messages."""
