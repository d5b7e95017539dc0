"""Darkroom: from a folder of labelled pictures to a measured, explained, exported image classifier."""
