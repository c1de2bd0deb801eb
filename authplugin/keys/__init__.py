"""Key sets: what each issuer publishes, held as immutable snapshots that a request reads without waiting."""
