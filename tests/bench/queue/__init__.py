"""What the queue costs: claims, starts, idling, the way to a finished MP4, batches."""
