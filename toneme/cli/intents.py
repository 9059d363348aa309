"""`codec intents`: a task of intents for `codec eval --suite downstream`."""

from pathlib import Path
from typing import Annotated

import typer

from toneme.cli import options
from toneme.cli.progress import progress

Folder = Annotated[
    Path,
    typer.Argument(metavar="FOLDER", help="Data folder that gets probes/intent.csv, for codec eval.", show_default=False),
]
Fluent = Annotated[
    bool, typer.Option("--fluent", help="FOLDER is Fluent Speech Commands, unpacked: write its labels, make no audio.")
]
Speak = Annotated[
    str | None,
    typer.Option(
        "--speak", help="A shell command with {voice}, {text} and {wav}; {speed}, {pitch} if it likes.",
        show_default="espeak-ng",
    ),
]  # fmt: skip
Voices = Annotated[
    str | None, typer.Option("--voices", help="What {voice} may be, with commas; a third only tests.", show_default=False)
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn: the same seed speaks the same.")]


def intents(
    folder: Folder,
    fluent: Fluent = False,
    speak: Speak = None,
    voices: Voices = None,
    seed: Seed = 0,
    json: options.Json = False,
) -> None:
    """Make spoken commands of 31 intents, or label Fluent Speech Commands, as tasks of intents.

    People who speak in tests do not in training; in probes/intent_new_wording.csv the tests' wordings are new too.
    """
    if (speak is None) != (voices is None):
        raise typer.BadParameter("--speak and --voices go together: a command that speaks, and its voices")
    if fluent and speak:
        raise typer.BadParameter("--fluent makes no audio: leave out --speak and --voices")
    count = label(folder) if fluent else make(folder, speak, voices.split(",") if voices else [], seed)
    if json:
        import json as json_format

        print(json_format.dumps({"output": str(folder), "recordings": count}))
    else:
        print(f"{folder}: {count} recordings; codec eval CODEC --data {folder} --suite downstream")


def label(folder: Path) -> int:
    """Write the labels of Fluent Speech Commands and return how many."""
    from toneme.eval.probes.fluent_speech_commands import label_fluent

    return label_fluent(folder)


def make(folder: Path, speak: str | None, voices: list[str], seed: int) -> int:
    """Have all commands spoken and return how many."""
    from toneme.eval.probes.spoken_commands import make_commands, plan_commands
    from toneme.eval.probes.voices import ESPEAK, Synthesizer, check_espeak

    if speak is None:
        check_espeak()
    commands = plan_commands([name.strip() for name in voices], seed)
    make_commands(commands, Synthesizer(speak or ESPEAK), folder, lambda count: progress("speaking", count))
    return len(commands)
