"""Our counts next to the published ones, from metadata alone."""
