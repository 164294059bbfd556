"""Lets `python -m tui_llama` do what `tui-llama` does."""

from tui_llama.start import main

if __name__ == "__main__":
    main()
