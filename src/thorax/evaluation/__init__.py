"""Metrics, thresholds and combinations of models."""
