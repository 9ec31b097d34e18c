"""What the predictions say: scores, statistics, the gate's decision, suspected label errors, near duplicates."""
