"""Carries out what the turn machine (`conversation`) decides, for one chat."""
