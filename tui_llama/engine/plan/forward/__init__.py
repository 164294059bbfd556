"""The forward pass of every architecture, written in the operations of a plan."""
