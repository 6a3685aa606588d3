"""The same verbs on a server elsewhere."""
