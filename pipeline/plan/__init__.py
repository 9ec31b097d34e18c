"""What a run is about to do with a data set, and what looks odd about it, before anything is decoded."""
