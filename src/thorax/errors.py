"""The one exception that a user is meant to read."""


class ThoraxError(Exception):
    """A problem that the user can solve.

    Its text is one sentence that names the file and the row or key and says what to do.
    The command line prints it without a traceback and exits with status 1.
    """
