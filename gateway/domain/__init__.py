"""Pure rules: jobs, points, plans, prices, errors. No SQL, no HTTP, no Redis."""
