"""The paper's ablations: each table as variants of `params.yaml` that share whatever they do not change."""
