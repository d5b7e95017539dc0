"""Are two models different by more than chance?"""
