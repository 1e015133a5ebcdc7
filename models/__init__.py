"""AI models: their descriptions, the renderer interface, and one adapter per family."""
