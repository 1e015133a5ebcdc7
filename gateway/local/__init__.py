"""The whole system on one machine: what `demo` and `up` start beside the gateway, and how."""
