"""Choice of the channels and weights that stay: criteria, removal unit by unit, masks."""
