"""What the app does with one kind of thing: each controller carries out the wishes of the screens that are about it."""
