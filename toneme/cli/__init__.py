"""The command `codec`: one file per command; torch is imported by the commands that compute, never by help or completion."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from toneme.cli import (
    convert,
    decode,
    encode,
    evaluate,
    export_,
    generate,
    info,
    intents,
    listing,
    play,
    probe,
    roundtrip,
    serve,
    shards,
    stream,
    tokenize_,
    train,
)
from toneme.cli.failures import complain, drop_unwritten, end_on_signals, import_numpy, open_streams, report

# Typer carries its own copy of click in some versions, so the root of its usage errors is found through one that it exports.
UsageError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class Commands(TyperGroup):
    """Commands in the order of their definition, each ending in an exit code and at most one line on stderr."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; whatever it raises becomes a sentence and exit code 1."""
        try:
            return super().invoke(ctx)
        except (UsageError, typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            complain("interrupted; no unfinished file was left")
            raise typer.Exit(130) from None
        except Exception as error:
            raise typer.Exit(_failed(error)) from error


class Command(TyperCommand):
    """A command that works on arrays."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, which has been understood; help and wrong usage import nothing."""
        import_numpy()
        return super().invoke(ctx)


app = typer.Typer(
    name="codec",
    cls=Commands,
    help="Audio to tokens and back with neural codecs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def _failed(error: Exception) -> int:
    """Say what went wrong, but nothing of a reader that went away, and return the exit code."""
    if not isinstance(error, BrokenPipeError):
        report(error)
    drop_unwritten()
    return 1


def _version(wanted: bool) -> None:
    if wanted:
        import toneme

        print(f"codec {toneme.__version__}")
        raise typer.Exit()


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Audio to tokens and back with neural codecs."""


WITH_ARRAYS = {
    "encode": encode.encode,
    "decode": decode.decode,
    "info": info.info,
    "list": listing.list_,
    "roundtrip": roundtrip.roundtrip,
    "play": play.play,
    "convert": convert.convert,
    "stream": stream.stream,
    "export": export_.export,
    "serve": serve.serve,
    "eval": evaluate.eval_,
    "train": train.train,
    "tokenize": tokenize_.tokenize_,
    "shards": shards.shards,
    "generate": generate.generate,
    "probe": probe.probe,
}
for _name, _function in WITH_ARRAYS.items():
    app.command(_name, cls=Command)(_function)
app.command("intents")(intents.intents)


def run(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 done, 1 it failed, 2 it was not understood, 130 interrupted."""
    try:
        code = app(argv, prog_name="codec", standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
        else:
            path = error.ctx.command_path if getattr(error, "ctx", None) else "codec"
            complain(f"{' '.join(error.format_message().split())} (see `{path} --help`)")
        return error.exit_code
    except typer.Abort:
        complain("interrupted; no unfinished file was left")
        return 130
    except OSError as error:  # of help, which is written before there is a command, or of what was still to be written
        return _failed(error)


def main() -> None:
    """Run the command that the process was started with, and end it; `toneme.__main__` starts here."""
    open_streams()
    end_on_signals()
    sys.exit(run())
