"""What comes from the terminal."""
