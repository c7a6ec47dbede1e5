"""Classifiers as pairs of pure functions."""
