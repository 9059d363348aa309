"""Teachers at a small size: settings that transformers' configurations take, their hop as published."""

SETTINGS = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32, "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
SPECTRAL = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32,
    "conv_depthwise_kernel_size": 5,
}  # fmt: skip
