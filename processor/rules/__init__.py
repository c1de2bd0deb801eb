"""Rules: the file a data engineer writes, checked and compiled."""
