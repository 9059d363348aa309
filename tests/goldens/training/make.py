"""Makes the numbers of this folder with the official code of each codec; they were made with torch 2.13.0 on a CPU.

    python tests/goldens/training/make.py SOURCES

SOURCES holds checkouts, read by path so that their packages' dependencies are not needed: `hifi-gan` (jik876, 4769534),
`xcodec` (zhenye234, a2e52d3), `BigCodec` (Aria-K-Alethia, 09845ab), `audiocraft` (facebookresearch, 896ec7c),
`SpeechTokenizer` (ZhangXInFD, 30c96fb), 
`flashy` (the package 0.0.2), `vocos003` and `vocos010` (the wheels 0.0.3 and 0.1.0). Packages that must be importable:
encodec 0.1.1, descript-audio-codec 1.0.0, torchaudio, librosa, scipy, omegaconf.

Every file holds what a test needs to compare values and gradients; weights and waveforms are those of `weights.py`.
"""

import importlib.util
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

Judge = Callable[[Tensor], list[tuple[Tensor, list[Tensor]]]]


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


def main(sources: Path) -> None:
    """Make every file."""
    sys.path.insert(0, str(sources))
    discriminators(sources)
    reconstruction(sources)
    teachers(sources)
    balancing(sources)


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


def last_is_score(parts: Sequence[list[Tensor]]) -> list[tuple[Tensor, list[Tensor]]]:
    return [(maps[-1], maps[:-1]) for maps in parts]


def discriminators(sources: Path) -> None:
    """Full-size parts of each discriminator; of several alike a few, to keep the tests fast."""
    sys.modules["utils"] = types.SimpleNamespace(init_weights=None, get_padding=lambda k, d=1: (k * d - d) // 2)
    hifigan = load(sources / "hifi-gan/models.py", "hifigan_models")
    flashy = types.ModuleType("flashy")  # of which one process needs the moving average alone
    flashy.averager = load(sources / "flashy/utils.py", "flashy_utils").averager
    flashy.distrib = types.SimpleNamespace(average_metrics=lambda metrics, count: metrics)
    sys.modules["flashy"] = flashy
    load(sources / "audiocraft/audiocraft/adversarial/losses.py", "audiocraft.adversarial.losses")
    period = nn.ModuleList([hifigan.DiscriminatorP(3), hifigan.DiscriminatorP(7)])
    gan("hifigan", lambda x: [d(x) for d in period], period, 4801, "hifigan_period")
    scale = hifigan.MultiScaleDiscriminator()

    def scales(x: Tensor) -> list:
        scores, _, maps, _ = scale(x, x)
        return list(zip(scores, maps, strict=True))

    gan("hifigan", scales, scale, 4801, "hifigan_scale")

    from encodec.msstftd import MultiScaleSTFTDiscriminator

    stft = MultiScaleSTFTDiscriminator(filters=32)
    gan("encodec", lambda x: list(zip(*stft(x), strict=True)), stft, 4801, "encodec")

    from dac.model.discriminator import Discriminator

    dac = Discriminator(periods=[3], fft_sizes=[1024, 512], sample_rate=24000)
    gan("dac", lambda x: last_is_score(dac(x)), dac, 4800, "dac")

    load(sources / "vocos010/vocos/modules.py", "vocos.modules")
    load(sources / "vocos010/vocos/loss.py", "vocos_loss")
    for version in ("vocos010", "vocos003"):
        code = load(sources / version / "vocos/discriminators.py", f"{version}_discriminators")
        resolution = code.DiscriminatorR(512) if version == "vocos010" else code.DiscriminatorR((512, 128, 512))
        model = nn.ModuleList([code.DiscriminatorP(5), resolution])
        gan("vocos", lambda x, m=model: [d(x[:, 0]) for d in m], model, 4801, version)

    sys.path.insert(0, str(sources / "xcodec"))
    code = load(sources / "xcodec/modules/commons/torch_stft.py", "modules.commons.torch_stft")
    code = load(sources / "xcodec/modules/discriminators/frequency_discriminator.py", "modules.discriminators.frequency_discriminator")
    load(sources / "xcodec/losses/basic_loss.py", "losses.basic_loss")
    load(sources / "xcodec/losses/discriminator_loss.py", "losses.discriminator_loss")
    config = types.SimpleNamespace(
        hop_lengths=[32, 256], hidden_channels=[64, 512], domain="double", mel_scale=True, sample_rate=16000
    )
    frequency = code.MultiFrequencyDiscriminator(config)

    def frequencies(x: Tensor) -> list:
        scores, _, maps, _ = frequency(x, x)
        return list(zip(scores, maps, strict=True))

    gan("xcodec", frequencies, frequency, 4801, "xcodec")

    load(sources / "BigCodec/common/audio.py", "common.audio")
    load(sources / "BigCodec/criterions/gan_loss.py", "bigcodec_gan")
    mpd = load(sources / "BigCodec/module/mpd.py", "bigcodec_mpd")
    spec = load(sources / "BigCodec/module/mstft.py", "bigcodec_mstft")
    params = {"fft_sizes": [78, 512], "hop_sizes": [39, 128], "win_lengths": [78, 512], "window": "hann_window"}
    model = nn.ModuleList(
        [
            mpd.HiFiGANMultiPeriodDiscriminator([3], max_downsample_channels=512, channels=16, channel_increasing_factor=4),
            spec.SpecDiscriminator(params, kernel_sizes=(5, 3)),
        ]
    )
    gan("bigcodec", lambda x: last_is_score([*model[0](x), *model[1](x)]), model, 4801, "bigcodec")


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
    sys.modules["matplotlib"] = sys.modules["matplotlib.pylab"] = types.ModuleType("matplotlib")
    speech = load(sources / "SpeechTokenizer/speechtokenizer/trainer/loss.py", "speechtokenizer_loss")
    pqmf = load(sources / "xcodec/modules/commons/pqmf.py", "xcodec_pqmf").PQMF(6)
    basic = sys.modules["losses.basic_loss"]
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
        "mel_vocos": sys.modules["vocos_loss"].MelSpecReconstructionLoss(),
        "mel_speechtokenizer": weighed,
        "stft": lambda x, y: sum(full(x[:, 0], y[:, 0])),
        "stft_bands": in_bands,
        "si_sdr": lambda x, y: SISDRLoss()(y, x),
    }
    saved = {}
    for name, loss in found.items():
        target, estimate = waveforms(4800, batch=2)
        estimate.requires_grad_()
        value = loss(estimate, target)
        (gradient,) = torch.autograd.grad(value, estimate)
        saved[name], saved[f"{name}_gradient"] = np.array(value.item()), gradient.numpy()
        print(name, value.item())
    saved["pqmf"] = pqmf.analysis(waveforms(4800)[0]).numpy()
    np.savez_compressed(FOLDER / "reconstruction.npz", **saved)


def teachers(sources: Path) -> None:
    """Distillation losses of SpeechTokenizer on features of the shapes that its papers mean."""
    code = sys.modules["speechtokenizer_loss"]
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
    main(Path(sys.argv[1]))
