"""Tokens and keys, as pure functions: bytes in, values or a `Refused` out; no I/O, no clock, no state."""
