"""What draws the pages and pictures in docs."""
