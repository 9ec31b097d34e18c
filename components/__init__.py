"""Custom TFX components and the media code they need. A library without TFX."""
