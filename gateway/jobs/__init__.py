"""Jobs: from a request to a spec, through the states, to files and back to points."""
