"""The Python face on a store of this machine."""
