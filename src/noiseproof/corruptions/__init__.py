"""Corruptions of images: pure functions of one image, a severity and a key."""
