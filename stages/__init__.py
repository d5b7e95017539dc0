"""The stages of the pipeline, in the order of dvc.yaml, and the commands beside them."""
