"""The one exception that a user is meant to read, and the one that ends a process that was asked to."""


class ThoraxError(Exception):
    """A problem that the user can solve.

    Its text is one sentence that names the file and the row or key and says what to do.
    The command line prints it without a traceback and exits with status 1.
    """


class Terminated(SystemExit):
    """SIGTERM as an exception, so that temporary files go as they do after an error; a note says what stays."""
