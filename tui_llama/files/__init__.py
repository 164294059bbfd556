"""Files on the disk: written beside and renamed, locked, marked as this program's own, guarded by checksums."""
