"""Videos to raw examples: shards, the quarantine, and the component that writes both with Beam."""
