"""Which channels and weights stay: criteria, removal one after the other, masks."""
