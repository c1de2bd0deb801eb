"""Doors into brokers: each speaks one broker's own interface and asks the gate."""
