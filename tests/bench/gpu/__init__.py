"""Open video models in full size on a GPU, with random weights: ours beside plain diffusers."""
