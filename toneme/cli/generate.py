"""`codec generate`: a language model of tokens to audio or a token file."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toneme.cli import options
from toneme.cli.batch import run_jobs
from toneme.cli.decode import Models
from toneme.cli.files import STANDARD, TOKENS, Folder, Job, check_target, make_parent, place

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from toneme.codecs.base import Codec
    from toneme.lm.models.sampling import Sampling

LONGEST = 30.0  # seconds that a model writes which does not end by itself
ALL = "all"

Model = Annotated[
    Path,
    typer.Argument(metavar="MODEL_DIR", help="A language model's folder, as RUN/model of codec train.", show_default=False),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="OUT", help="Audio file, - for stdout, or .tok, .npz or .safetensors; a folder with --count.",
        show_default=False, parser=place,
    ),
]  # fmt: skip
Prompt = Annotated[
    Path | None, typer.Option("--prompt", metavar="FILE", help="Audio or tokens that come first.", show_default=False)
]
Label = Annotated[
    str | None,
    typer.Option("--label", help="Class to write, of a model of labels; all with --count.", show_default=False),
]
Text = Annotated[str | None, typer.Option("--text", help="Text to say, of a model of text.", show_default=False)]
Seconds = Annotated[
    float | None,
    typer.Option("--seconds", min=0.01, help="Length, prompt included.", show_default="until the model ends, at most 30"),
]
Count = Annotated[
    int | None,
    typer.Option("--count", min=1, help="Write so many recordings, of each label, and a list labels.csv.", show_default=False),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn: the same seed writes the same.")]
Temperature = Annotated[float, typer.Option("--temperature", min=0.0, help="0 takes the likeliest code.")]
TopK = Annotated[int, typer.Option("--top-k", min=0, help="Draw from so many likeliest codes.", show_default="all")]
TopP = Annotated[float, typer.Option("--top-p", min=0.001, max=1.0, help="Draw from the likeliest codes of this probability.")]
Guidance = Annotated[float, typer.Option("--guidance", min=0.0, help="Above 1, keeps closer to the label or text.")]


def generate(
    model: Model,
    output: Output,
    prompt: Prompt = None,
    label: Label = None,
    text: Text = None,
    seconds: Seconds = None,
    count: Count = None,
    seed: Seed = 0,
    temperature: Temperature = 1.0,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    guidance: Guidance = 1.0,
    codec: options.DecodeCodec = None,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Write audio or tokens with a language model, from nothing, a label, a text, or on from a prompt."""
    if label is not None and text is not None:
        raise typer.BadParameter("give either --label or --text, not both")
    check_named(output, count)
    from toneme.codecs.registry import pick_device
    from toneme.lm.models.base import load
    from toneme.lm.models.sampling import Sampling

    device = pick_device(device)
    language = load(model, device)
    check_told(language.config, label, text, seconds)
    sounds = Models(codec, device).of(language.config.codec, str(model)).as_codec()
    language.check(sounds, f"the codec {sounds.name}")
    draw = Sampling(temperature, top_k, top_p, guidance)
    run = Run(language, sounds, label if text is None else text, seconds, seed, draw)
    given = None if prompt is None else read_prompt(prompt, language, sounds)
    check_length(run, given)
    job = Job(STANDARD if prompt is None else prompt, output, named=True)
    if count is None:
        check_target(job, force=False)
        make_parent(output)

    def work(job: Job) -> dict[str, Any]:
        n_frames = write_one(run, given, output) if count is None else write_many(run, given, output, count)
        return {"output": str(output), "codec": sounds.name, "frames": n_frames, "seconds": round(n_frames / run.rate, 6)}

    run_jobs([job], work, batch=False, as_json=json, line=_line)


def check_named(output: Path, count: int | None) -> None:
    """Raise a usage error for a folder where a file is written, and for stdout where a folder is."""
    if count is not None and output == STANDARD:
        raise typer.BadParameter("--count writes files: name a folder with -o")
    if count is None and isinstance(output, Folder):
        raise typer.BadParameter(f"{output} is a folder, and what a model writes has no name: name a file with -o")


def check_told(config: Any, label: str | None, text: str | None, seconds: float | None) -> None:
    """Raise a usage error for what a model was not trained to be told."""
    if text is not None and not config.text:
        raise typer.BadParameter("this model was not trained on texts: leave out --text")
    if label is not None and not config.labels:
        raise typer.BadParameter("this model was not trained on labels: leave out --label")
    if config.kind == "masked" and seconds is None:
        raise typer.BadParameter("a masked model writes all frames at once: say how long with --seconds")


def check_length(run: "Run", prompt: "Tensor | None") -> None:
    """Raise TonemeError for a prompt that is longer than the whole is to be."""
    from toneme.codecs.errors import TonemeError

    if prompt is not None and run.frames is not None and prompt.shape[-1] > run.frames:
        given = prompt.shape[-1] / run.rate
        raise TonemeError(
            f"the prompt is {given:.2f} s long, and --seconds {run.seconds:g} is the length of the whole: ask for more "
            "seconds, or cut the prompt"
        )


def read_prompt(path: Path, language: Any, codec: "Codec") -> "Tensor":
    """Return the codes [1, codebooks, frames] of a file of audio or tokens.

    Raises:
        CheckpointError: if tokens are of another codec than the model's.
    """
    from toneme.codecs.audio import read_audio
    from toneme.codecs.formats import read_tokens

    books = len(language.config.sizes)
    if path.suffix.lower() in TOKENS:
        tokens = read_tokens(path)
        language.check(tokens, str(path))
        return tokens[0].with_depth(books).codes
    waveform, rate = read_audio(str(path))
    return codec.encode(waveform[None], rate, codebooks=books).codes


@dataclass(frozen=True)
class Run:
    """What is to be written, and by what."""

    language: Any
    codec: "Codec"
    told: str | None
    seconds: float | None
    seed: int
    sampling: "Sampling"

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.language.config.frame_rate

    @property
    def frames(self) -> int | None:
        """Frames that were asked for."""
        return None if self.seconds is None else max(1, round(self.seconds * self.rate))

    def most(self, prompt: "Tensor | None") -> int:
        """Return the most frames that are written, prompt included."""
        return self.frames or round(LONGEST * self.rate) + (0 if prompt is None else prompt.shape[-1])

    @property
    def generator(self) -> "torch.Generator":
        """A new source of random numbers."""
        import torch

        return torch.Generator().manual_seed(self.seed)

    def codes(self, prompt: "Tensor | None") -> "Tensor":
        """Return all codes [1, codebooks, frames]."""
        from toneme.lm.models.writing import write_codes

        if self.language.config.kind == "masked":
            return self.language.fill(self.most(prompt), self.told, prompt, self.sampling, generator=self.generator)
        return write_codes(
            self.language, self.most(prompt), self.told, prompt, self.sampling, self.generator, frames=self.frames
        )


def write_one(run: Run, prompt: "Tensor | None", output: Path) -> int:
    """Write a file of tokens or audio, by its name, and return the frames in it."""
    return (write_tokens if output.suffix.lower() in TOKENS else write_audio)(run, prompt, output)


def write_tokens(run: Run, prompt: "Tensor | None", output: Path) -> int:
    """Write a file of tokens, and return the frames in it."""
    codes = run.codes(prompt)
    run.codec.tokens_from_codes(codes).save(output)
    return codes.shape[-1]


def write_audio(run: Run, prompt: "Tensor | None", output: Path) -> int:
    """Write audio, as it is made where the model writes frame by frame, and return the frames in it."""
    from toneme.codecs.audio import AudioWriter

    spec = run.codec.spec
    with AudioWriter(str(output), spec.sample_rate, spec.channels) as writer:
        if run.language.config.kind == "masked":
            codes = run.codes(prompt)
            writer.write(run.codec.decode(run.codec.tokens_from_codes(codes))[0].cpu())
            return codes.shape[-1]
        return _stream(run, prompt, writer)


def write_many(run: Run, prompt: "Tensor | None", folder: Path, count: int) -> int:
    """Write so many recordings of each label, and labels.csv with what each was told; return the frames in all.

    Raises:
        TonemeError: if something is there already.
    """
    from toneme.codecs.errors import TonemeError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TonemeError(f"{folder} is no empty folder, which --count needs: name another with -o")
    labels = run.language.config.labels
    told = labels if run.told == ALL and ALL not in labels else (run.told,)
    folder.mkdir(parents=True, exist_ok=True)
    frames = 0
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label"])
        for number in range(count * len(told)):
            one = replace(run, told=told[number // count], seed=run.seed + number)
            frames += write_audio(one, prompt, folder / f"{number:06d}.wav")
            rows.writerow([f"{number:06d}.wav", one.told or ""])
    return frames


def _line(done: dict[str, Any]) -> str:
    target = "stdout" if done["output"] == str(STANDARD) else done["output"]
    return f"{target}: {done['seconds']:.2f} s, {done['frames']} frames of {done['codec']}"


def _stream(run: Run, prompt: "Tensor | None", writer: Any) -> int:
    from toneme.lm.incremental import PatternDecoder
    from toneme.lm.models.writing import write

    decoder = PatternDecoder(run.codec, run.language.pattern)
    steps = decoder.steps
    steps.frames = run.frames
    for column in write(run.language, steps, run.most(prompt), run.told, prompt, run.sampling, run.generator):
        writer.write(decoder.push(column)[0].cpu())
    writer.write(decoder.flush()[0].cpu())
    return steps.given
