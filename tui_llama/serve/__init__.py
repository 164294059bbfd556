"""Our engine as an HTTP server that speaks OpenAI's protocol, for editors, agents and other screens.

Only `tui-llama serve` imports it: starlette, uvicorn and prometheus_client are an extra of this program.
"""
