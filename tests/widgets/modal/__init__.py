"""Tests of editing in two modes."""
