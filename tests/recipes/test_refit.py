"""Refitting: codebooks end nearer to vectors like those that they were fitted to, and the networks stay as they are."""

import numpy as np
import pytest
import soundfile
import torch

from toneme.codecs.toneme24k import TonemeCodec
from toneme.kernels.beam import beam_encode
from toneme.recipes.errors import DataError, RecipeError
from toneme.recipes.recipe import read_recipe
from toneme.recipes.refit import Refit, main, refit

from .runs import small


def left(rows, books):
    """Mean squared distance of rows to what the beam chooses for them."""
    codes = beam_encode(rows, books, 8)
    return (rows - sum(books[stage][codes[:, stage]] for stage in range(len(books)))).square().sum(1).mean().item()


def stage_by_stage(rows, size, depth):
    """Codebooks that were started from vectors and fitted one after the other."""
    books, rest = [], rows
    for stage in range(depth):
        book = rest[torch.arange(size) * 7 + stage]
        for _ in range(20):
            code = torch.cdist(rest, book).argmin(1)
            sums = torch.zeros_like(book).index_add_(0, code, rest)
            book = sums / torch.bincount(code, minlength=size).clamp(min=1)[:, None]
        books.append(book)
        rest = rest - book[torch.cdist(rest, book).argmin(1)]
    return torch.stack(books)


def test_vectors_that_were_not_seen_are_coded_nearer():
    torch.manual_seed(0)
    mixed = torch.randn(24000, 8) @ torch.randn(8, 8)
    rows, unseen = mixed[:20000], mixed[20000:]
    books = stage_by_stage(rows, 16, 4)
    before, fit = left(unseen, books), Refit(books)
    for part in rows.split(1000):
        fit.update(part, 4)
    assert left(unseen, books) < 0.978 * before  # 0.970, and 0.985 where each codebook follows what those before it left


def test_one_codebook_moves_to_the_mean_of_what_chose_it():
    books = torch.tensor([[[0.0, 0.0], [10.0, 10.0]]])
    fit = Refit(books, prior=1.0, width=1)
    fit.update(torch.tensor([[1.0, 0.0], [2.0, 3.0]]), 1)
    assert torch.allclose(books[0], torch.tensor([[1.0, 1.0], [10.0, 10.0]]))  # (0 + 1 + 2) / 3, (0 + 0 + 3) / 3
    fit.update(torch.tensor([[5.0, 1.0]]), 1)
    assert torch.allclose(books[0, 0], torch.tensor([2.0, 1.0]))


def test_private_numbers_move_in_the_first_codebook_alone():
    torch.manual_seed(0)
    books = torch.randn(3, 8, 4)
    books[1:, :, 3:] = 0
    before = books.clone()
    Refit(books, private=1).update(torch.randn(200, 4), 3)
    assert not books[1:, :, 3:].any()
    assert not torch.equal(books[0, :, 3:], before[0, :, 3:])


def test_codebooks_beyond_the_depth_stand_still():
    books = torch.randn(3, 4, 2)
    before = books.clone()
    Refit(books).update(torch.randn(50, 2), 2)
    assert torch.equal(books[2], before[2])
    assert not torch.equal(books[1], before[1])


def test_a_codec_keeps_its_networks(audio, tmp_path):
    small(audio, tmp_path / "run", "steps=4").run()
    settings = [f"init={tmp_path / 'run' / 'codec'}", f"data.train={audio}", "seconds=0.5", "batch=4", "codec.name=refitted"]
    main(["tiny", *settings, "-o", str(tmp_path / "new"), "--vectors", "300"])
    old, new = TonemeCodec.from_folder(tmp_path / "run" / "codec"), TonemeCodec.from_folder(tmp_path / "new")
    assert new.name == "refitted"
    for name, value in old.state_dict().items():
        assert torch.equal(value, new.state_dict()[name]) == (name != "quantizer.codebooks"), name
    again = refit(read_recipe("tiny", settings), 300)
    assert torch.equal(again.quantizer.codebooks, new.quantizer.codebooks)


@pytest.mark.parametrize(
    ("init", "message"),
    [("", "there is nothing to refit: name a codec"), ("plain", "plain has no residual codebooks to refit")],
)
def test_what_cannot_be_refitted_is_explained(init, message, monkeypatch):
    codec = TonemeCodec.unloaded(TonemeCodec.Config(), "plain")
    codec.quantizer = torch.nn.Identity()
    monkeypatch.setattr("toneme.recipes.refit.initial_codec", lambda init, name: codec)
    with pytest.raises(RecipeError, match=message):
        refit(read_recipe("tiny", [f"init={init}"]), 1)


def test_recordings_that_turn_out_to_be_unreadable_are_explained(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "nan.wav", np.full(24000, np.nan, np.float32), 24000, subtype="FLOAT")
    codec = TonemeCodec(TonemeCodec.Config(encoder_dim=16, decoder_dim=16, encoder_blocks=(1, 1), decoder_blocks=(1, 1)))
    monkeypatch.setattr("toneme.recipes.refit.initial_codec", lambda init, name: codec)
    with pytest.raises(DataError, match=r"cannot be read, the first because .*nan.wav holds NaN.*check data.train"):
        refit(read_recipe("tiny", ["init=x", f"data.train={tmp_path}"]), 1)


def test_what_would_be_of_no_use_is_refused_before_the_work(tmp_path):
    with pytest.raises(RecipeError, match="codebooks move by one vector at least; got --vectors 0"):
        main(["tiny", "init=x", "-o", str(tmp_path / "new"), "--vectors", "0"])
    (tmp_path / "file").touch()
    with pytest.raises(RecipeError, match="file is a file, and a codec is a folder: name another with -o"):
        main(["tiny", "init=x", "-o", str(tmp_path / "file")])
