"""The reads and writes of a store within one transaction, which the caller begins and ends."""
