"""The widgets of which screens are made, one to a file. A widget takes data and posts messages."""
