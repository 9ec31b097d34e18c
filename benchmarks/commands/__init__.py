"""Commands of ``vivit`` that measure; they are not in the image."""
