"""WER: known transcripts, and a small recogniser with random weights run by transformers beside us."""

import json

import pytest
import torch

from toneme.codecs.errors import AudioError
from toneme.eval import weights
from toneme.eval.metrics import wer
from toneme.eval.metrics.wer import transcribe, word_error_rate

from ..signals import noise, tone

transformers = pytest.importorskip("transformers")
jiwer = pytest.importorskip("jiwer")


def test_known_transcripts_have_a_known_rate(monkeypatch):
    said = {1.0: "A B C D", 2.0: "A X D", 3.0: ""}
    monkeypatch.setattr(wer, "transcribe", lambda audio: said[audio[0].item()])
    target, estimate, nothing = (torch.full((10,), value) for value in said)
    assert word_error_rate(estimate, target) == pytest.approx(50)  # one word replaced, one left out, of four
    assert word_error_rate(target, target) == 0
    with pytest.raises(AudioError, match="no word is recognised"):
        word_error_rate(target, nothing)


def test_it_equals_torchmetrics(monkeypatch):
    text = pytest.importorskip("torchmetrics.functional.text")
    said = {1.0: "THE CAT SAT ON THE MAT", 2.0: "CAT SAT AT ON A MAT MAT"}
    monkeypatch.setattr(wer, "transcribe", lambda audio: said[audio[0].item()])
    target, estimate = (torch.full((10,), value) for value in said)
    assert word_error_rate(estimate, target) == pytest.approx(100 * text.word_error_rate([said[2.0]], [said[1.0]]).item())


def test_a_recogniser_in_ones_own_folder_is_run(tmp_path, monkeypatch):
    folder = tmp_path / "wav2vec2-base-960h"
    folder.mkdir()
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", "A", "B", "C"]
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    torch.manual_seed(1)
    config = transformers.Wav2Vec2Config(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=(16, 16), conv_kernel=(10, 8), conv_stride=(80, 4), num_feat_extract_layers=2, num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    made = transformers.Wav2Vec2ForCTC(config)
    made.lm_head.bias.data[1:4] = -1e4  # a trained one never says <s>, </s> or <unk>
    made.save_pretrained(folder)
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    processor = transformers.Wav2Vec2Processor(transformers.Wav2Vec2FeatureExtractor(do_normalize=True), tokenizer)
    processor.save_pretrained(folder)
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    weights.find_weights.cache_clear()
    audio = torch.cat([noise(8000), tone(300), noise(8000, 1)])
    model = transformers.Wav2Vec2ForCTC.from_pretrained(folder).eval()
    with torch.inference_mode():
        normalised = (audio - audio.mean()) / (audio.var(correction=0) + 1e-7).sqrt()
        ids = model(normalised[None]).logits.argmax(-1)[0].unique_consecutive().tolist()
    expected = "".join(letters[i].replace("|", " ") for i in ids if i >= 4)
    assert transcribe(audio).split() == expected.split()
    assert expected.strip()
    weights.find_weights.cache_clear()
