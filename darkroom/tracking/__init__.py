"""MLflow: runs, the registry, and where they are stored."""
