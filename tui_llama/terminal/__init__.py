"""Turns the terminal's bytes into Textual's messages: `driver` reads the bytes, `framing` cuts them into items.

`app` is Textual's app, mended for real terminals.
"""
