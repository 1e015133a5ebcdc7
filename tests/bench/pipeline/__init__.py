"""What the worker adds to plain diffusers, and what batches, fewer steps and a warm child save."""
