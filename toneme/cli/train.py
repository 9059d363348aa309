"""`codec train`: a recipe and a folder of audio to a codec."""

from pathlib import Path
from typing import Annotated, Any

import typer

from toneme.cli import options


def complete_recipe(incomplete: str) -> list[str]:
    """Return the shipped recipes whose names begin so."""
    from toneme.recipes.tables import recipe_names

    return [name for name in recipe_names() if name.startswith(incomplete)]


Recipe = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A .yaml file, or the name of a shipped recipe.",
        show_default=False,
        autocompletion=complete_recipe,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings of the recipe, as data.train=FOLDER.", show_default=False),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder of the run.", show_default="runs/RECIPE")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last state in the folder of the run.")]


def train(
    recipe: Recipe,
    settings: Settings = None,
    output: Output = None,
    resume: Resume = False,
    device: options.Device = "auto",
) -> None:
    """Train a codec from a recipe and a folder of audio; the codec is DIR/codec.

    Recipes lm_... train a language model on shards of tokens (data.train=SHARDS, made by codec tokenize); it is DIR/model.
    Recipe teacher_ctc trains a speech model on a manifest with transcripts; it is DIR/model.

    A run that SIGTERM, Ctrl-C or the terminal's end stops is saved, and exits with 143, 130 or 129.

    On several GPUs: torchrun --nproc-per-node N --no-python codec train ...
    """
    from toneme.codecs.registry import pick_device
    from toneme.kernels.allocator import keep_freed
    from toneme.recipes.errors import RecipeError
    from toneme.recipes.recipe import read_recipe

    name = Path(recipe).stem
    folder = output or Path("runs") / name
    if folder.exists() and not folder.is_dir():
        raise RecipeError(f"{folder} is a file, and a run is a folder: name another with -o")
    begun = any((folder / "states").glob("*.pt"))
    if begun and not resume:
        raise RecipeError(f"{folder} holds a run already: go on with --resume, or name another folder with -o")
    if resume and not begun:
        raise RecipeError(f"{folder} holds no run to go on with: leave out --resume, or name its folder with -o")
    read = read_recipe(recipe, settings or [])
    keep_freed()
    kind = trainer_of(read)
    run = kind(read, folder, name, pick_device(device))
    step = run.run(resume)
    if run.rank == 0:
        result = "model" if read.language.kind or read.hearing.kind else "codec"
        print(f"{folder / result}: {read.codec.name or name} after {step} steps")
    if step < read.steps:
        raise typer.Exit(128 + run.ended_by)


def trainer_of(recipe: Any) -> Any:
    """Return the class that trains what a recipe describes."""
    from toneme.recipes.clustering import FAMILY, Clustering
    from toneme.recipes.hearing import HearingTraining
    from toneme.recipes.language import LanguageTraining
    from toneme.recipes.latent import LatentTraining
    from toneme.recipes.trainer import Trainer

    if recipe.language.kind:
        return LanguageTraining
    if recipe.hearing.kind:
        return HearingTraining
    if recipe.diffusion.stage:
        return LatentTraining
    return Clustering if recipe.codec.family == FAMILY else Trainer
