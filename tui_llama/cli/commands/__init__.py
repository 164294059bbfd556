"""The commands, with their arguments and their help. Every start imports them all, so they are light."""
