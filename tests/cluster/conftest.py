import tests.helpers.clusters  # noqa: F401 - sets what Ray reads when it is imported
