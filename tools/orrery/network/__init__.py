"""What guests are connected to: the lab's namespace, its bridges, its switch and the backends."""
