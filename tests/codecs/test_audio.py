"""Audio brought to a codec, whole files in and out, and real recordings where there are some."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from toneme.codecs.audio import AudioReader, PcmFormat, fit_waveform, read_audio, resample, write_audio
from toneme.codecs.errors import AudioError, ShapeError
from toneme.codecs.spec import CodecSpec, StreamSpec


def spec(channels: int = 1, sample_rate: int = 24_000) -> CodecSpec:
    return CodecSpec(sample_rate, channels, (StreamSpec(320, (1024,)),), causal=True)


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(sum(shape))) - 0.5


def test_nothing_to_do_is_nothing_done() -> None:
    waveform, lengths = noise(2, 1, 100), torch.tensor([100, 50])
    fitted = fit_waveform(waveform, lengths, 24_000, spec())
    assert fitted[0] is waveform
    assert fitted[1] is lengths


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 2_000), min_size=1, max_size=4),
    channels=st.tuples(st.integers(1, 3), st.just(1)) | st.tuples(st.just(1), st.integers(1, 3)),
    rate=st.sampled_from([8_000, 24_000, 44_100, 48_000]),
)
def test_an_item_of_a_batch_is_as_it_would_be_alone(lengths: list[int], channels: tuple[int, int], rate: int) -> None:
    """Exactly, and zeros follow, though noise stood there before."""
    target, batch = spec(channels[1]), noise(len(lengths), channels[0], 2_000)
    fitted, counts = fit_waveform(batch, torch.tensor(lengths), rate, target)
    for item, n, row, count in zip(batch, lengths, fitted, counts.tolist(), strict=True):
        alone, alone_count = fit_waveform(item[None, :, :n], torch.tensor([n]), rate, target)
        assert alone_count.tolist() == [count] == [alone.shape[-1]]
        assert torch.equal(row[:, :count], alone[0])
        assert rate == 24_000 or not row[:, count:].any()


def test_stereo_is_mixed_before_and_mono_repeated_after() -> None:
    waveform, lengths = noise(1, 2, 4_410), torch.tensor([4_410])
    mono = fit_waveform(waveform, lengths, 44_100, spec())[0]
    torch.testing.assert_close(mono, resample(waveform.mean(1, keepdim=True), 44_100, 24_000), rtol=0, atol=1e-6)
    stereo = fit_waveform(waveform[:, :1], lengths, 44_100, spec(2))[0]
    assert torch.equal(stereo[:, 0], stereo[:, 1])


@pytest.mark.parametrize(("given", "wanted"), [(3, 2), (6, 2), (2, 4)])
def test_other_channels_are_refused(given: int, wanted: int) -> None:
    with pytest.raises(AudioError, match=f"{given} channels cannot become audio of {wanted}"):
        fit_waveform(noise(1, given, 10), torch.tensor([10]), 24_000, spec(wanted))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[batch, channels, samples\]; got \[1, 10\]"):
        fit_waveform(noise(1, 10), torch.tensor([10]), 24_000, spec())
    with pytest.raises(AudioError, match="sample rate must be"):
        fit_waveform(noise(1, 1, 10), torch.tensor([10]), 0, spec())
    with pytest.raises(AudioError, match="NaN or infinite"):
        fit_waveform(torch.full((1, 1, 10), torch.nan), torch.tensor([10]), 48_000, spec())


def test_a_file_read_at_a_rate_is_the_file_fitted(tmp_path: Path) -> None:
    """So that the command, which reads in blocks, gives the codes that the library gives."""
    waveform = noise(2, 48_000)
    assert write_audio(tmp_path / "a.wav", waveform, 44_100, "FLOAT") == 0
    fitted = fit_waveform(waveform[None], torch.tensor([48_000]), 44_100, spec())[0][0]
    read, rate = read_audio(tmp_path / "a.wav", 24_000, 1)
    assert rate == 24_000
    assert torch.equal(read, fitted)


def test_write_takes_one_dimension_as_mono_and_counts_clipping(tmp_path: Path) -> None:
    assert write_audio(tmp_path / "a.flac", 4 * noise(1_000), 24_000, "PCM_24") == int((4 * noise(1_000)).abs().gt(1).sum())
    assert read_audio(tmp_path / "a.flac")[0].shape == (1, 1_000)
    with pytest.raises(ShapeError, match=r"\[channels, samples\]; got \[1, 1, 5\]"):
        write_audio(tmp_path / "b.wav", torch.zeros(1, 1, 5), 24_000)


def test_raw_samples_are_read_by_their_layout(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"\x00\x40\x00\xc0")
    assert read_audio(tmp_path / "a.raw", raw=PcmFormat(24_000))[0].tolist() == [[0.5, -0.5]]


def test_recordings_are_read_in_blocks_as_whole(corpus: Path | None, samples: Path) -> None:
    """FLAC, Opus and Vorbis of many rates; without a corpus the made samples."""
    folders = [corpus / "eval" / "music", corpus / "train" / "music" / "lr"] if corpus else [samples]
    paths = [
        path for folder in folders for path in sorted(folder.iterdir()) if path.suffix in (".flac", ".ogg", ".wav", ".opus")
    ]
    assert paths
    for path in paths[:12]:
        whole, rate = read_audio(path)
        with AudioReader(path, 24_000, 1, block_seconds=0.7) as reader:
            assert reader.source_rate == rate
            blocks = torch.cat(list(reader), 1)
        expected = fit_waveform(whole[None], torch.tensor([whole.shape[1]]), rate, spec())[0][0]
        assert torch.equal(blocks, expected)
