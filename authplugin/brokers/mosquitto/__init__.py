"""The door in Mosquitto: a C shim in the broker, and the gate behind it."""
