"""What this machine is: its processors, its instruction sets, its memory."""
