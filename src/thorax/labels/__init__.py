"""Label sets, studies of two views, and the split by patient."""
