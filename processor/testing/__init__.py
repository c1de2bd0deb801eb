"""What tests of the watch stand on, shipped for those who extend it."""
