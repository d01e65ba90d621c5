"""Radiographs as arrays: decoded, ingested, segmented, cropped."""
