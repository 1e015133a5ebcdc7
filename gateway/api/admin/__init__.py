"""`/admin/v1`: what operators do. Keys of scope admin only; every write is logged with a reason."""
