"""Server-sent events: what they are told from, and the answers that go on."""
