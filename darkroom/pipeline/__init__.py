"""What all stages share: the whole of params.yaml, recipes, and the frame of a script."""
