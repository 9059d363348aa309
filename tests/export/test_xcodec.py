"""X-Codec exported: the decoder alone, since the encoder hears through a speech model."""

import numpy as np
import pytest
import torch

import toneme
from toneme.codecs.layers.dac_blocks import DacBlocksConfig
from toneme.codecs.teachers import TeacherConfig
from toneme.codecs.xcodec import XCodec, XCodecConfig
from toneme.export.folder import export_codec
from toneme.export.runtime import StreamingCodec

from .agreement import AUDIO

pytest.importorskip("transformers", reason="X-Codec needs transformers: pip install toneme[train]")
BLOCKS = DacBlocksConfig(4, (8, 5, 4, 2), 16, 64, up_strides=(8, 5, 4, 2), tanh=False)
SETTINGS = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "conv_dim": (8,) * 7,
}  # fmt: skip


@pytest.mark.slow
def test_codes_sound_as_pytorch_lets_them_and_audio_is_refused(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        teacher = TeacherConfig("hubert", None, tuple(SETTINGS.items()))
        codec = XCodec(XCodecConfig(blocks=BLOCKS, teacher=teacher, codebook_size=64), "small-xcodec").eval()
    export_codec(codec, tmp_path / "x")
    exported = StreamingCodec(tmp_path / "x")
    codes = torch.randint(0, 64, (2, 8, 70), generator=torch.Generator().manual_seed(1))
    for depth in (8, 3):
        expected = codec.decode(codec.tokens_from_codes(codes[:, :depth]))
        np.testing.assert_allclose(exported.decode(codes[:, :depth].numpy()), expected.numpy(), atol=AUDIO, rtol=0)
    with pytest.raises(toneme.ShapeError, match="only decodes without torch"):
        exported.encoder()
    assert not (tmp_path / "x" / "encoder.onnx").exists()
