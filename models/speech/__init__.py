"""Speech for digital humans: text to sound, recordings, and how a mouth moves to either."""
