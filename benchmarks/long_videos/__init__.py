"""What a long video costs."""
