"""The screens, one to a file. A screen takes data and posts messages that say what the user wants."""
