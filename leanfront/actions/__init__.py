"""What is done with stored candidates, whoever asks: verify, measure, recover, audit, export."""
