"""The error type whose message is shown to the user."""


class UserError(Exception):
    """Reports where the problem is (a file, a tensor, an option), what it is, and the remedy."""

    def __init__(self, place, problem, remedy):
        super().__init__(f"{place}: {problem}. {remedy}.")
