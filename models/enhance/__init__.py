"""Frame interpolation and upscaling of finished clips, in plain torch."""
