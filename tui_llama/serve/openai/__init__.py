"""The two endpoints of OpenAI's protocol that answer: chat completions and completions."""
