"""What a person is told when something cannot be done."""


class Fault(Exception):
    """One sentence each: where (a file, a tensor, an option), what is wrong there, and what to do."""

    def __init__(self, place, fault, remedy):
        super().__init__(f"{place}: {fault}. {remedy}.")
