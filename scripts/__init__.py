"""What draws the pages and pictures in docs, and what tries the tests on a busy machine."""
