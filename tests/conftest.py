"""Every test runs with shapes checked, sockets blocked (pyproject) and two threads."""

import os

os.environ.setdefault("SEGMED_NO_NETWORK", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

from jaxtyping import install_import_hook

install_import_hook("segmed", "beartype.beartype")
