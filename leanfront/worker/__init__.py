"""Workers: they take queued jobs from the database and do them."""
