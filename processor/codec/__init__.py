"""Payload bytes to readings: strict, sized, one format a file."""
