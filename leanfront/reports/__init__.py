"""Documents made readable: terminal text, JSON shapes, plots, HTML."""
