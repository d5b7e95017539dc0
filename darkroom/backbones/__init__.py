"""Pretrained networks of keras.applications and their weights."""
