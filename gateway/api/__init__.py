"""HTTP: what goes over the wire and how. The rules are below, in jobs, points and accounts."""
