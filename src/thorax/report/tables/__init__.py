"""Tables: one module per kind."""
