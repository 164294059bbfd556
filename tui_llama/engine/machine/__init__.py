"""Facts about this machine: its processors, its instruction sets, its memory."""
