"""The chaos run: a real system, clients that remember every answer, and a nemesis. See docs/07."""
