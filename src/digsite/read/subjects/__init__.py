"""What the method is done to."""
