"""The widgets of which screens are made, and what they share. A widget takes data and posts messages."""
