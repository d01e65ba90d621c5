"""The only room that knows Snakemake and DVC: code digests, the DAG's jobs, dvc.yaml, record and sync, cost.

Snakemake executes, DVC versions. The Snakefile is the only DAG that is written by hand; everything here is read from it.
"""
