"""One partition's memory: samples in, case events out."""
