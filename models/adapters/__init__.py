"""Renderers: over diffusers, one file per model family, and over other servers.

A worker loads weights from local folders alone. Importing any renderer shuts the model hub for
the process first.
"""

from models.hub import shut_hub

shut_hub()
