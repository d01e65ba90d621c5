"""Snakemake executes, DVC versions, and no other package knows them: code digests, jobs, dvc.yaml, record and sync, cost.

The Snakefile is the only DAG that is written by hand; everything here is read from it.
"""
