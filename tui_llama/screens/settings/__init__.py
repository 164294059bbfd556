"""The screen of the settings, and the dialogs that ask for values."""
