"""Lets `python -m tui_llama` do what `tui-llama` does."""

from tui_llama.cli import main

if __name__ == "__main__":
    main()
