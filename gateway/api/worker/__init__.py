"""The workers' side of the gateway; the messages are in `gateway.protocol`."""
