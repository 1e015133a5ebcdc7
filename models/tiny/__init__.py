"""A very small trained checkpoint in the shape of Wan 2.2 TI2V, and everything that made it."""
