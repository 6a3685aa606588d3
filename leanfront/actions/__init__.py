"""Actions on stored candidates, shared by all faces: verify, measure, recover, audit, export."""
