"""Settings that make every shipped recipe small."""

COMMON = [
    "steps=3", "batch=2", "data.workers=0", "saving.every=3", "saving.audio=0", "saving.log=1", "quantizer.from_step=1",
    "precision=fp32",
]  # fmt: skip
SEANET = ["codec.config.seanet={filters: 2, dimension: 8, ratios: [4, 4, 2]}", "codec.config.codebook_size=8"]
DAC = ["codec.config.blocks={width: 4, decoder_width: 32, latent: 16, strides: [2, 4, 4]}", "codec.config.codebook_size=8"]
STFT = ["adversarial.discriminators.multi_scale_stft={windows: [256], width: 4}"]
PERIODS = ["adversarial.discriminators.multi_period.widths=[4, 4]", "adversarial.discriminators.multi_period.periods=[2, 3]"]
BANDS = ["adversarial.discriminators.multi_band={windows: [256], width: 4}"]
TOY = {
    "tiny": ["seconds=0.2", "codec.config.codebook_size=8"],
    "kmeans_ssl": ["seconds=0.3", "codec.config.codebook_size=4", "codec.config.teacher.layer=1"],
    "toneme_24k": [
        "codec.config={encoder_dim: 16, decoder_dim: 16, encoder_blocks: [1, 1], decoder_blocks: [1, 1], codebook_size: 8}",
        "seconds=0.2", "adversarial.from_step=1", "data.bank=true", *STFT, *PERIODS,
    ],
    "encodec_24khz": [*SEANET, "codec.config.codebooks=2", "seconds=0.2", *STFT],
    "dac_44khz": [*DAC, "codec.config.codebooks=2", "seconds=0.2", *PERIODS, *BANDS],
    "snac_24khz": [
        "codec.config.blocks={width: 4, decoder_width: 32, latent: 32, strides: [2, 4, 4]}", "codec.config.codebook_size=8",
        "seconds=0.2", *PERIODS, *BANDS,
    ],
    "bigcodec_16khz": [
        *DAC, "seconds=0.2", *PERIODS, "adversarial.discriminators.multi_spectrogram={windows: [256], width: 4}",
    ],
    "wavtokenizer_24khz": [
        *SEANET, "codec.config.vocos={inputs: 8, width: 16, hidden: 16, layers: 1, groups: 4, window: 128, hop: 32}",
        "seconds=0.2",
        "adversarial.discriminators={multi_resolution: {windows: [256], width: 4}, vocos_periods: null, dac_periods: null}",
        "adversarial.discriminators.multi_band=null",
    ],
    "mimi_24khz": [
        "codec.config={seanet: {filters: 2, dimension: 16, ratios: [4, 4, 4]}, codebooks: 3, codebook_size: 8, code_width: 4}",
        "codec.config.transformer={width: 16, heads: 2, layers: 1, hidden: 16, context: 20}", "seconds=0.2", *STFT,
        "distil.wavlm.cache=true", "distil.wavlm.settings={kernel: 2, stride: 1}",
    ],
    "speechtokenizer": [
        *SEANET, "codec.config.taught=16", "codec.config.codebooks=2", "seconds=0.3", *STFT, *PERIODS,
        "adversarial.discriminators.multi_scale=null",
    ],
    "xcodec_16khz": [
        "codec.config={blocks: {width: 4, decoder_width: 32, latent: 8}, codebooks: 2, codebook_size: 8, depth: 1}",
        "seconds=0.3", "adversarial.discriminators.multi_frequency={hops: [64], widths: [32]}",
    ],
}  # fmt: skip
TOY["mimi_24khz_adversarial"] = TOY["mimi_24khz"]
TOY["dm_codec"] = TOY["speechtokenizer"]
TEACHER = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
