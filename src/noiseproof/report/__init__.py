"""Figures, tables and the page, made from records alone."""

from noiseproof.report.page import write_report
from noiseproof.report.tables import accuracy_text

__all__ = ["accuracy_text", "write_report"]
