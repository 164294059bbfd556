"""From a kernel's source to its address here: compiled by other processes, kept as object files, linked."""
