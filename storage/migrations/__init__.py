"""Schema versions. Each file in `versions` leads from one to the next."""
