"""Heatmaps: where a network looks."""
