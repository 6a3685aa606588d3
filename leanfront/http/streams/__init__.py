"""Server-sent events: polling of the database, and the endless responses."""
