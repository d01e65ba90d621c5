"""Bundles: a trained model in one file, with all that is needed to use it on a new radiograph."""
