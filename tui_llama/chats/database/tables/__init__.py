"""What a store reads and writes within one transaction, which the caller has begun and ends."""
