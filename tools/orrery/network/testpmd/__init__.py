"""dpdk-testpmd as a measure of the switch: alone between two ports, and through a guest (PVP)."""
