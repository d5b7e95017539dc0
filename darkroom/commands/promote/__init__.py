"""From candidate to champion in MLflow's registry."""
