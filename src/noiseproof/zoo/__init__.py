"""Learned optimizers that ship with the package."""
