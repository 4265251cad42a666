"""The one error a user can cause; its message is one clear line with the remedy."""


class InputError(ValueError):
    """Input that cannot be used as asked: nothing was lost, and the command line exits with 2."""
