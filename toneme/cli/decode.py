"""`codec decode`: token files to audio files."""

from functools import cache
from typing import TYPE_CHECKING, Any

from toneme.cli import options
from toneme.cli.batch import run_jobs
from toneme.cli.files import STANDARD, TOKENS, Job, check_target, is_batch, make_parent, plan

if TYPE_CHECKING:
    from toneme.codecs.base import Codec
    from toneme.codecs.coder import Coder


def decode(
    inputs: options.Inputs,
    output: options.Output = None,
    codec: options.DecodeCodec = None,
    bits: options.Bits = "16",
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    seed: options.Seed = None,
    any_weights: options.AnyWeights = False,
    salvage: options.Salvage = False,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Decode tokens to audio.

    Without -o, the result stands beside the input as NAME.wav; the suffix of -o says the format (wav, flac, ogg, opus, mp3).
    A codec whose decoder samples (SemantiCodec) takes --steps, --guidance and --seed; the same seed gives the same audio.
    """
    subtype = options.subtype_of(bits)
    jobs = plan(inputs, output, ".wav", TOKENS)
    told = {"steps": steps, "guidance": guidance, "seed": seed}
    models = Models(codec, device, backend, {name: value for name, value in told.items() if value is not None})
    run_jobs(jobs, lambda job: decode_file(models, job, subtype, any_weights, salvage, force), is_batch(inputs), json, describe)


class Models:
    """The codecs that decode files: the one that the user named, or by the name in each file, each loaded once."""

    def __init__(self, named: str | None, device: str, backend: str = "auto", told: dict[str, Any] | None = None) -> None:
        self.named, self.told, self._loader = named, told or {}, options.loader(backend, device)
        self._load = cache(self._load_once)

    def _load_once(self, name: str) -> "Coder":
        codec = self._loader(name)
        codec.set_decode_options(**self.told)
        return codec

    def given(self) -> "Codec | None":
        """Return the codec that the user named itself, which needs torch, or None."""
        return self._load(self.named).as_codec() if self.named else None

    def of(self, name: str, file: str) -> "Coder":
        """Return the codec for a file that was made by the codec `name`.

        Raises:
            CodecNotFoundError: if it is not packaged and the user named none; a file cannot make us load from elsewhere.
        """
        from toneme.codecs.errors import CodecNotFoundError
        from toneme.codecs.registry import codec_names

        if self.named:
            return self._load(self.named)
        if name not in codec_names():
            raise CodecNotFoundError(
                f"{file} was made by the codec {name!r}, which is not packaged: name its folder or hf:// name with --codec"
            )
        return self._load(name)


def decode_file(models: Models, job: Job, subtype: str, any_weights: bool, salvage: bool, force: bool) -> dict[str, Any]:
    """Decode one file and return its figures."""
    from toneme.cli.coding import Clock, decode_source, note_clipped_output, with_progress
    from toneme.cli.sources import open_tokens
    from toneme.codecs.audio_writing import AudioWriter

    check_target(job, force)
    with open_tokens(job.source, models.given, salvage, any_weights) as tokens:
        model, clock = models.of(tokens.codec, tokens.name), Clock()  # loading, of torch too, is no part of decoding
        make_parent(job.target)
        rate, (channels, blocks) = model.spec.sample_rate, decode_source(model, tokens, any_weights)
        writer = AudioWriter(str(job.target), rate, channels, subtype, n_samples=tokens.length())
        with writer:
            for block in with_progress(blocks, tokens.name, tokens.length()):
                writer.write(block)
    note_clipped_output(job.target, writer.clipped)
    seconds = writer.n_samples / rate
    return {
        "input": str(job.source), "output": str(job.target), "codec": model.name, "seconds": round(seconds, 6),
        "samples": writer.n_samples, "sample_rate": rate, "channels": channels, "clipped": writer.clipped,
        "realtime_factor": round(seconds / clock.seconds, 2),
    }  # fmt: skip


def describe(done: dict[str, Any]) -> str:
    """Return one line about a decoded file."""
    target = "stdout" if done["output"] == str(STANDARD) else done["output"]
    return (
        f"{done['input']} -> {target}: {done['seconds']:.2f} s at {done['sample_rate']} Hz by {done['codec']}, "
        f"{done['realtime_factor']:.1f} x real time"
    )
