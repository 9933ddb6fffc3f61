"""What good data is, and how good what was sent is: expectations, timeliness, scores."""
