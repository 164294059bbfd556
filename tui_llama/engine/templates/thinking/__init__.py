"""What a chat template knows of thinking: how a model writes a thought, and how it is told to think or not."""
