"""Files and tables on disk: whole or absent, with fixed schemas."""
