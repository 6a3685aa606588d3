"""The JSON of requests and answers, as the OpenAPI document tells it; a file a noun."""
