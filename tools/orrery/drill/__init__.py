"""Drills: live migration of guests, and what a program and a connection felt of it."""
