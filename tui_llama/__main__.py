"""Makes `python -m tui_llama` the same as `tui-llama`."""

from tui_llama.start import main

if __name__ == "__main__":
    main()
