"""The way from the terminal's bytes to what the screen is told: `framing` cuts, `driver` reads and hands on."""
