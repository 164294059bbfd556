"""Chats with a real trained model, the starter.

Mirrors no module: everything else is tested with scripts and with tiny random models, each part by itself. Here a user
chats through the real screen, the engine's own process and the kernels with a model that somebody trained, so that
what only such a model shows is seen: sensible text, loops, sampling that comes with it, rounding on real weights.
"""
