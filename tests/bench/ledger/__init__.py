"""What the points ledger costs: submit against the raw driver, and in a database that has grown."""
