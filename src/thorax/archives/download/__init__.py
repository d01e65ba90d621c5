"""Downloads: what may be fetched, checked and unpacked."""
