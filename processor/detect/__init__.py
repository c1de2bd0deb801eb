"""Detectors: one way of looking at a series each, one file each."""
