"""Files on the disk: replaced in one step, locked, marked as this program's own, and read with suspicion."""
