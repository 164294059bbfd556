"""What is attached: the line of each attachment, above the composer and in a message that was sent."""
