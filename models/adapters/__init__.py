"""Renderers over diffusers, one file per model family.

A worker loads weights from local folders alone. Importing any renderer shuts the model hub for
the process first: huggingface_hub, transformers and diffusers read these variables when imported.
"""

import os

os.environ.update(
    {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DIFFUSERS_DISABLE_REMOTE_CODE": "true",
    }
)
