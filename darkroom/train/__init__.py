"""Stage `train`: heads, fine-tuning and networks from scratch, resumable."""
