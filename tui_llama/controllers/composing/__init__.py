"""What helps the user write a message."""
