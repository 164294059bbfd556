"""Model files: those on this machine, those that can be fetched, and what each of them needs."""
