"""Errors that reach the user as one line with the remedy."""


class InputError(ValueError):
    """Input that cannot be used. Nothing was lost; the command line exits with 2."""


class WorkError(RuntimeError):
    """Work that failed for a reason other than the input.

    Finished work is kept; the command line exits with 1.
    """
