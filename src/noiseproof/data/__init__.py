"""Readers of image data sets and their four splits."""
