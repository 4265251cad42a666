"""The errors that reach a user as one clear line with the remedy."""


class InputError(ValueError):
    """Input that cannot be used as asked: nothing was lost, and the command line exits with 2."""


class WorkError(RuntimeError):
    """Work that could not be completed for reasons outside the input, with the remedy in one line.

    What is done is kept, and the command line exits with 1.
    """
