"""The flow: Faust's worker around runs of records, and the order in which nothing is lost."""
