"""Tests of what is chosen for one chat."""
