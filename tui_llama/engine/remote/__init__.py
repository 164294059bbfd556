"""The engine over a server that speaks OpenAI's chat completions: llama-server, vLLM, Ollama and others."""
