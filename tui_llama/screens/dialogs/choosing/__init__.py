"""Dialogs in which something is chosen for one chat."""
