"""Workers: processes that claim queued jobs from the database and run them."""
