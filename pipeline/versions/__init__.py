"""What the terminal shows of versions and candidates."""
