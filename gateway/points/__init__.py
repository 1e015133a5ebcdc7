"""The ledger of points: lots, holds, and append-only double entries."""
