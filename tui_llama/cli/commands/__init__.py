"""The commands: a file for each, with its arguments and its help. Every start imports them all, so they are light."""
