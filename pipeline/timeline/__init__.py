"""What happens when in a long video: windows, scores, segments, and the files that tell of them."""
