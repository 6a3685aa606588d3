"""The packed file: which bytes hold what, and back into a module."""
