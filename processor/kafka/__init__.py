"""Kafka as both programs meet it: one client configuration, one producer that never gives up, the topics."""
