"""The packed file: its layout, its writing, and its reading into a module."""
