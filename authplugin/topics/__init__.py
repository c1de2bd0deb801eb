"""Topics, as pure functions: which names are topics and filters, and which filter holds which."""
