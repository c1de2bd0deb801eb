"""The bridge: MQTT to Kafka, payloads untouched, acknowledged to the broker only after Kafka has them."""
