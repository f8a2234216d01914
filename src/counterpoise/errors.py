"""The two ways in which counterpoise stops on purpose."""


def one_line(text: str) -> str:
    """Text from anywhere as one printable line: other characters (line ends, ESC...) as escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


class UserError(Exception):
    """A mistake in what the user gave: one line that says what, where and what to do.

    The command line prints the message without a traceback and exits with code 2. A name or a
    value in the message may hold anything: what does not print is escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class TrainingDivergedError(Exception):
    """A loss or a weight became non-finite: the message names the step and the value.

    The command line prints the message without a traceback and exits with code 1.
    """
