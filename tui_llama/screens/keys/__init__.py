"""The keys: their names, the keymaps of the program and of the user, and the hints that are made of them."""
