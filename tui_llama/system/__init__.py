"""The operating system's side: processes, signals, terminals, standard streams."""
