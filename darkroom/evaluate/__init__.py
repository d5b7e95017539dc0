"""Stage `evaluate`: metrics with intervals, plots, explanations, label noise, the report."""
