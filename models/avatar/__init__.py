"""Digital humans on a CPU: one portrait, moved by speech."""
