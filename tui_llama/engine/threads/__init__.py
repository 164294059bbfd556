"""The team of threads that runs kernels, and the processors that it runs on."""
