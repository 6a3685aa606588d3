"""Presentation of results: terminal text, JSON shapes, plots, HTML."""
