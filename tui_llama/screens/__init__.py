"""The screen of the chat, its dialogs, and what both use. They take data and post messages of what is wanted."""
