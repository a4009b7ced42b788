"""The one exception that a person is meant to read."""


class LabError(Exception):
    """What stopped a lab command, in one line that says what to do next."""
