"""Classify pictures with an exported model."""
