"""Scripts that draw the pages and pictures in docs, and one that runs the tests on a busy machine."""
