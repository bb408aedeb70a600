"""What talks to any OpenWhisk: a client, a benchmark and a list of facts to check."""
