"""What the user prefers: settings and their screen, colours, room, keys."""
