"""What the predictions say: scores, statistics, the gate's decision, label errors, near duplicates, smaller forms."""
