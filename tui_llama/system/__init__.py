"""Code for the operating system: processes, signals, terminals, standard streams."""
