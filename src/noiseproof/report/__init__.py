"""Figures, tables and the page, made from records alone."""
