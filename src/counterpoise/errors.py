"""The two ways in which counterpoise stops on purpose."""


class UserError(Exception):
    """A mistake in what the user gave: one line that says what, where and what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


class TrainingDivergedError(Exception):
    """A loss or a weight became non-finite: the message names the step and the value.

    The command line prints the message without a traceback and exits with code 1.
    """
