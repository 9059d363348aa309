"""The command `codec`, as the console script and `python -m toneme` start it."""

import signal


def main() -> None:
    """Run the command; Ctrl-C while its modules still load ends it as it ends any program, without a word.

    Nothing is under way by then, and Python's traceback would tell of nothing but imports.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # else it is ignored, as under nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from toneme.cli import main as command

    signal.signal(signal.SIGINT, before)
    command()


if __name__ == "__main__":
    main()
