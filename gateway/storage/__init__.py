"""Files: given pictures and finished videos, behind one small protocol."""
