"""What a reviewer decides on: one offline page for each evaluated model, and its model card."""
