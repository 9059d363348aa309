"""Makes the numbers of this folder with the official code of each codec; they were made with torch 2.13.0 on a CPU.

    python tests/goldens/training/make.py SOURCES [PART...]

SOURCES holds checkouts, read by path so that their packages' dependencies are not needed: `hifi-gan` (jik876, 4769534),
`xcodec` (zhenye234, a2e52d3), `BigCodec` (Aria-K-Alethia, 09845ab), `audiocraft` (facebookresearch, 896ec7c),
`SpeechTokenizer` (ZhangXInFD, 30c96fb), `flashy` (the package 0.0.2), `vocos003` and `vocos010` (the wheels 0.0.3 and 0.1.0).
Packages that must be importable: encodec 0.1.1, descript-audio-codec 1.0.0, torchaudio, librosa, scipy,
einops. PART is
a function below, such as `discriminators`, `dac` or `reconstruction`.

Every file holds what a test needs to compare values and gradients; weights and waveforms are those of `weights.py`.
Discriminators are the official layers, kernels, strides and groups with fewer channels, shorter windows and a tenth of a
second of audio, so that numbers and tests take seconds; losses of waveforms have the published settings.
"""

import importlib.util
import json
import sys
import types
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))
from weights import fingerprint, set_weights, values, waveforms  # noqa: E402

Judged = list[tuple[Tensor, list[Tensor]]]
Judge = Callable[[Tensor], Judged]


def load(path: Path, name: str) -> types.ModuleType:
    """Import one file under a dotted name, its parents being empty packages."""
    parts = name.split(".")
    for depth in range(1, len(parts)):
        parent = sys.modules.setdefault(".".join(parts[:depth]), types.ModuleType(".".join(parts[:depth])))
        parent.__path__ = []
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def gan(kind: str, judge: Judge, model: nn.Module, samples: int, name: str) -> None:
    """Save scores, maps, losses and gradients of one family."""
    set_weights(model)
    real, fake = waveforms(samples)
    fake.requires_grad_()
    theirs, ours = judge(real), judge(fake)
    found: dict[str, np.ndarray] = {"samples": np.array(samples)}
    for index, (score, maps) in enumerate(ours):
        found[f"score_{index}"] = score.detach().flatten().numpy()
        found[f"maps_{index}"] = np.stack([fingerprint(m) for m in maps])
    generator, disc, features = losses(kind, theirs, ours)
    found["losses"] = np.array([generator.item(), disc.item(), features.item()])
    (found["gradient"],) = (g.numpy() for g in torch.autograd.grad(generator + 2 * features, fake, retain_graph=True))
    gradients = torch.autograd.grad(disc, list(model.parameters()), allow_unused=True)
    found["weights"] = np.stack([fingerprint(g) for g in gradients])
    np.savez_compressed(FOLDER / f"discriminator_{name}.npz", **found)
    print(name, found["losses"])


def main(sources: Path, *parts: str) -> None:
    """Make every file, or those of some parts."""
    sys.path[:0] = [str(sources), str(sources / "xcodec")]
    stand_ins(sources)
    for part in parts or ("layouts", "discriminators", "reconstruction", "teachers", "balancing"):
        globals()[part](sources)


def stand_ins(sources: Path) -> None:
    """Give the checkouts what they import and these computations do not use."""
    sys.modules["utils"] = types.SimpleNamespace(init_weights=None, get_padding=lambda k, d=1: (k * d - d) // 2)
    sys.modules["matplotlib"] = sys.modules["matplotlib.pylab"] = types.ModuleType("matplotlib")
    sys.modules["omegaconf"] = types.SimpleNamespace(DictConfig=None)
    flashy = types.ModuleType("flashy")  # of which one process needs the moving average alone
    flashy.averager = load(sources / "flashy/utils.py", "flashy_utils").averager
    flashy.distrib = types.SimpleNamespace(average_metrics=lambda metrics, count: metrics)
    sys.modules["flashy"] = flashy


def losses(kind: str, real: Sequence, fake: Sequence) -> tuple[Tensor, Tensor, Tensor]:
    """Return (generator, discriminator, features) by the official functions of a family."""
    return FAMILIES[kind](real, fake)


def split(judged: Sequence) -> tuple[list[Tensor], list[list[Tensor]]]:
    return [s for s, _ in judged], [m for _, m in judged]


def hifigan_losses(real, fake):
    code = sys.modules["hifigan_models"]
    (rs, rm), (fs, fm) = split(real), split(fake)
    return code.generator_loss(fs)[0], code.discriminator_loss(rs, fs)[0], code.feature_loss(rm, fm)


def encodec_losses(real, fake):
    """audiocraft's, with the mean over discriminators that its wrapper takes."""
    code = sys.modules["audiocraft.adversarial.losses"]
    (rs, rm), (fs, fm) = split(real), split(fake)
    count = len(fs)
    generator = sum(code.hinge2_loss(s) for s in fs) / count
    disc = sum(code.hinge_real_loss(r) + code.hinge_fake_loss(f) for r, f in zip(rs, fs, strict=True)) / count
    matching = code.FeatureMatchingLoss()
    return generator, disc, sum(matching(f, r) for f, r in zip(fm, rm, strict=True)) / count


def dac_losses(real, fake):
    from dac.nn.loss import GANLoss

    def join(judged):
        return [[*maps, score] for score, maps in judged]

    loss = GANLoss(nn.Identity())
    loss.forward = lambda f, r: (join(fake), join(real))
    silence = types.SimpleNamespace(clone=lambda: types.SimpleNamespace(detach=lambda: None))
    generator, features = loss.generator_loss(None, None)
    return generator, loss.discriminator_loss(silence, None), features


def vocos_losses(real, fake):
    code = sys.modules["vocos_loss"]
    (rs, rm), (fs, fm) = split(real), split(fake)
    return code.GeneratorLoss()(fs)[0], code.DiscriminatorLoss()(rs, fs)[0], code.FeatureMatchingLoss()(rm, fm)


def xcodec_losses(real, fake):
    basic, disc = sys.modules["losses.basic_loss"], sys.modules["losses.discriminator_loss"]
    (rs, rm), (fs, fm) = split(real), split(fake)
    return basic.MSEGLoss()(fs), disc.MSEDiscriminatorLoss()(rs, fs), basic.FeatureMatchLoss()(rm, fm)


def bigcodec_losses(real, fake):
    loss = sys.modules["bigcodec_gan"].GANLoss()
    (rs, rm), (fs, fm) = split(real), split(fake)
    disc = sum(sum(loss.disc_loss(r, f)) for r, f in zip(rs, fs, strict=True))
    features = sum(F.l1_loss(f, r.detach()) for a, b in zip(fm, rm, strict=True) for f, r in zip(a, b, strict=True))
    return sum(loss.gen_loss(f) for f in fs), disc, features


FAMILIES = {
    "hifigan": hifigan_losses, "encodec": encodec_losses, "dac": dac_losses, "vocos": vocos_losses, "xcodec": xcodec_losses,
    "bigcodec": bigcodec_losses,
}  # fmt: skip


def last_is_score(parts: Sequence[list[Tensor]]) -> Judged:
    return [(maps[-1], maps[:-1]) for maps in parts]


def narrow(code: types.ModuleType, by: int, *names: str) -> None:
    """Make the layers that a file builds under these names narrower."""
    for name in names:
        setattr(code, name, partial(narrower, getattr(code, name), by))


def narrower(layer: Callable, by: int, inside: int, outside: int, *args, **settings) -> nn.Module:
    """Build a layer of fewer channels, of which one, or two of a complex number, stay."""
    return layer(max(inside // by, min(inside, 2)), max(outside // by, min(outside, 2)), *args, **settings)


def discriminators(sources: Path) -> None:
    """Make the discriminators' files."""
    for family in (hifigan, encodec, dac, vocos, xcodec, bigcodec):
        family(sources)


def layouts(sources: Path) -> None:
    """Shapes of the weights at full size, as packages and checkouts build them by default; before any `narrow`."""
    from dac.model.discriminator import Discriminator
    from encodec.msstftd import MultiScaleSTFTDiscriminator

    hifigan = load(sources / "hifi-gan/models.py", "hifigan_models")
    new, old = (load(sources / name / "vocos/discriminators.py", f"{name}_discriminators") for name in ("vocos010", "vocos003"))
    builders = {
        "hifigan": [hifigan.MultiPeriodDiscriminator, hifigan.MultiScaleDiscriminator],
        "encodec": [partial(MultiScaleSTFTDiscriminator, filters=32)],
        "dac": [Discriminator],
        "vocos": [new.MultiPeriodDiscriminator, new.MultiResolutionDiscriminator],
        "vocos003": [old.MultiPeriodDiscriminator, old.MultiResolutionDiscriminator],
    }
    with torch.device("meta"):
        found = {name: [list(p.shape) for build in built for p in build().parameters()] for name, built in builders.items()}
    (FOLDER / "layouts.json").write_text(json.dumps(found, separators=(",", ":")))


def hifigan(sources: Path) -> None:
    """HiFi-GAN's two, an eighth as wide."""
    code = load(sources / "hifi-gan/models.py", "hifigan_models")
    narrow(code, 8, "Conv1d", "Conv2d")
    period = nn.ModuleList([code.DiscriminatorP(3), code.DiscriminatorP(7)])
    gan("hifigan", lambda x: [d(x) for d in period], period, 1601, "hifigan_period")
    scale = code.MultiScaleDiscriminator()
    gan("hifigan", lambda x: compared(scale, x), scale, 1601, "hifigan_scale")


def encodec(sources: Path) -> None:
    """EnCodec's with 4 channels and short windows; its losses are audiocraft's."""
    load(sources / "audiocraft/audiocraft/adversarial/losses.py", "audiocraft.adversarial.losses")
    from encodec.msstftd import MultiScaleSTFTDiscriminator

    sizes = {"n_ffts": [256, 512, 128], "hop_lengths": [64, 128, 32], "win_lengths": [256, 512, 128]}
    stft = MultiScaleSTFTDiscriminator(filters=4, **sizes)
    gan("encodec", lambda x: list(zip(*stft(x), strict=True)), stft, 1601, "encodec")


def dac(_: Path) -> None:
    """DAC's, an eighth as wide, at a length that its period divides."""
    from dac.model import discriminator as code

    narrow(code, 8, "WNConv2d")
    model = code.Discriminator(periods=[3], fft_sizes=[512, 256], sample_rate=24000)
    gan("dac", lambda x: last_is_score(model(x)), model, 1602, "dac")


def vocos(sources: Path) -> None:
    """Vocos' of both versions: periods an eighth as wide, spectra with 4 channels."""
    load(sources / "vocos010/vocos/modules.py", "vocos.modules")
    load(sources / "vocos010/vocos/loss.py", "vocos_loss")
    for version, window in (("vocos010", 512), ("vocos003", (128, 32, 128))):
        code = load(sources / version / "vocos/discriminators.py", f"{version}_discriminators")
        narrow(code, 8, "Conv2d")
        model = nn.ModuleList([code.DiscriminatorP(5), code.DiscriminatorR(window, channels=4)])
        gan("vocos", lambda x, m=model: [d(x[:, 0]) for d in m], model, 1601, version)


def xcodec(sources: Path) -> None:
    """X-Codec's with 32 and 64 channels at most, and short windows."""
    load(sources / "xcodec/modules/commons/torch_stft.py", "modules.commons.torch_stft")
    code = load(sources / "xcodec/modules/discriminators/frequency_discriminator.py", "modules.discriminators.frequency")
    load(sources / "xcodec/losses/basic_loss.py", "losses.basic_loss")
    load(sources / "xcodec/losses/discriminator_loss.py", "losses.discriminator_loss")
    sizes = {"hop_lengths": [16, 64], "hidden_channels": [32, 64], "sample_rate": 16000}
    model = code.MultiFrequencyDiscriminator(types.SimpleNamespace(domain="double", mel_scale=True, **sizes))
    gan("xcodec", lambda x: compared(model, x), model, 1601, "xcodec")


def bigcodec(sources: Path) -> None:
    """BigCodec's two with 4 channels that grow to 64 and 16."""
    load(sources / "BigCodec/common/audio.py", "common.audio")
    load(sources / "BigCodec/criterions/gan_loss.py", "bigcodec_gan")
    periods = load(sources / "BigCodec/module/mpd.py", "bigcodec_mpd").HiFiGANMultiPeriodDiscriminator
    spectra = load(sources / "BigCodec/module/mstft.py", "bigcodec_mstft").SpecDiscriminator
    sizes = {"fft_sizes": [78, 128], "hop_sizes": [39, 32], "win_lengths": [78, 128], "window": "hann_window"}
    model = nn.ModuleList(
        [
            periods([3], max_downsample_channels=64, channels=4, channel_increasing_factor=4),
            spectra(sizes, kernel_sizes=(5, 3), channels=4, max_downsample_channels=16),
        ]
    )
    gan("bigcodec", lambda x: last_is_score([*model[0](x), *model[1](x)]), model, 1601, "bigcodec")


def compared(model: nn.Module, x: Tensor) -> Judged:
    """Judge by a model that takes real and fake together."""
    scores, _, maps, _ = model(x, x)
    return list(zip(scores, maps, strict=True))


def reconstruction(sources: Path) -> None:
    """Losses of waveforms: value and gradient of the estimate."""
    import scipy.signal
    from audiotools import AudioSignal
    from dac.nn.loss import MelSpectrogramLoss, MultiScaleSTFTLoss, SISDRLoss

    scipy.signal.kaiser = scipy.signal.windows.kaiser
    bigcodec = load(sources / "BigCodec/criterions/mel_loss.py", "bigcodec_mel")
    conv = load(sources / "audiocraft/audiocraft/modules/conv.py", "audiocraft.modules.conv")
    sys.modules["audiocraft.modules"].pad_for_conv1d = conv.pad_for_conv1d
    audiocraft = load(sources / "audiocraft/audiocraft/losses/specloss.py", "audiocraft.losses.specloss")
    speech = load(sources / "SpeechTokenizer/speechtokenizer/trainer/loss.py", "speechtokenizer_loss")
    pqmf = load(sources / "xcodec/modules/commons/pqmf.py", "xcodec_pqmf").PQMF(6)
    basic = load(sources / "xcodec/losses/basic_loss.py", "losses.basic_loss")
    load(sources / "vocos010/vocos/modules.py", "vocos.modules")
    vocos_loss = load(sources / "vocos010/vocos/loss.py", "vocos_loss")
    full = basic.MultiResolutionSTFTLoss([512, 1024, 2048], [480, 960, 1200], [120, 240, 300])
    bands = basic.MultiResolutionSTFTLoss([128, 256, 256], [80, 120, 200], [20, 40, 50])

    def signals(loss: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda x, y: loss(AudioSignal(x, 24000), AudioSignal(y, 24000))

    def in_bands(x: Tensor, y: Tensor) -> Tensor:
        x, y = (pqmf.analysis(w).flatten(0, 1) for w in (x, y))
        return sum(bands(x, y))

    def weighed(x: Tensor, y: Tensor) -> Tensor:
        total = 0
        for i, weight in enumerate((45, 1, 1, 1)):
            sizes = {"n_fft": 1024 >> i, "hop_size": 240 >> i, "win_size": 1024 >> i}
            total = total + weight * speech.mel_loss(y, x, num_mels=80, sample_rate=16000, fmin=0, fmax=None, **sizes)
        return total

    windows, mels = [32, 64, 128, 256, 512, 1024, 2048], [5, 10, 20, 40, 80, 160, 320]
    many = {"mel_fmin": [0.0] * 7, "mel_fmax": [None] * 7}
    found = {
        "mel_dac": signals(MelSpectrogramLoss(mels, windows, pow=1.0, mag_weight=0.0, clamp_eps=1e-5, **many)),
        "stft_dac": signals(MultiScaleSTFTLoss()),
        "mel_bigcodec": lambda x, y: bigcodec.MultiResolutionMelSpectrogramLoss(16000)(x[:, 0], y[:, 0]),
        "mel_encodec": audiocraft.MultiScaleMelSpectrogramLoss(24000, 6, 11, 64, 64.0, normalized=True, alphas=False),
        "mel_vocos": vocos_loss.MelSpecReconstructionLoss(),
        "mel_speechtokenizer": weighed,
        "stft": lambda x, y: sum(full(x[:, 0], y[:, 0])),
        "stft_bands": in_bands,
        "si_sdr": lambda x, y: SISDRLoss()(y, x),
    }
    saved = {}
    for name, loss in found.items():
        target, estimate = waveforms(2400, batch=2)
        estimate.requires_grad_()
        value = loss(estimate, target)
        (gradient,) = torch.autograd.grad(value, estimate)
        saved[name], saved[f"{name}_gradient"] = np.array(value.item()), gradient.numpy()
        print(name, value.item())
    saved["pqmf"] = pqmf.analysis(waveforms(2400)[0]).numpy()
    np.savez_compressed(FOLDER / "reconstruction.npz", **saved)


def teachers(sources: Path) -> None:
    """Distillation losses of SpeechTokenizer on features of the shapes that its papers mean."""
    code = load(sources / "SpeechTokenizer/speechtokenizer/trainer/loss.py", "speechtokenizer_loss")
    torch.functional.l1_loss = F.l1_loss  # what the released code calls, and torch does not have
    saved = {}
    for name, loss in {"d_axis": code.d_axis_distill_loss, "t_axis": partial(code.t_axis_distill_loss, lambda_sim=2)}.items():
        features = values("features", (2, 50, 24)).requires_grad_()
        value = loss(features, values("teacher", (2, 48, 24)) + 0.5 * features.detach()[:, :48])
        (gradient,) = torch.autograd.grad(value, features)
        saved[name], saved[f"{name}_gradient"] = np.array(value.item()), gradient.numpy()
        print(name, value.item())
    np.savez_compressed(FOLDER / "teachers.npz", **saved)


def balancing(sources: Path) -> None:
    """Three steps of audiocraft's balancer with two losses."""
    code = load(sources / "audiocraft/audiocraft/losses/balancer.py", "audiocraft.losses.balancer")
    saved = {}
    for per_item in (True, False):
        balancer = code.Balancer({"square": 1.0, "absolute": 3.0}, per_batch_item=per_item, ema_decay=0.9, monitor=True)
        gradients, effective = [], []
        for step in range(3):
            leaf = values(f"output {step}", (4, 1, 20)).requires_grad_()
            output = leaf * 1.0
            losses = {"square": output.square().mean(), "absolute": 10 * (output - 0.3).abs().mean()}
            effective.append(balancer.backward(losses, output).item())
            gradients.append(leaf.grad.numpy())
        key = "item" if per_item else "batch"
        saved[f"gradients_{key}"], saved[f"effective_{key}"] = np.stack(gradients), np.array(effective)
        saved[f"shares_{key}"] = np.array([float(balancer.metrics[f"ratio_{n}"]) for n in ("square", "absolute")])
    np.savez_compressed(FOLDER / "balancer.npz", **saved)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
