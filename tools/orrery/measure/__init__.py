"""What a measurement is, for every room: scenario, trials, statistics, record."""
