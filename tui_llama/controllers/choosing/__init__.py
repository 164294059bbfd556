"""What the user chooses for one chat: sampling, start of replies, system prompt, and personas, which are all."""
