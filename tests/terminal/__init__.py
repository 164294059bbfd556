"""Tests of the bytes that come from the terminal."""
