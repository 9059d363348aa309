"""X-Codec-2's names of tensors, in the published checkpoint and in transformers."""

TEACHERS = ("semantic_model.", "semantic_encoder.")
UNUSED = (  # of training, and tables that are computed
    r"^(fc_post_s|SemanticDecoder_module|discriminator|spec_discriminator|model_spk|criteria)\."
    r"|\.(up|down)sample\.|istft\.window$"
)
PUBLISHED = (  # patterns of our names, in order
    (r"^teacher\.model\.", TEACHERS[0]),
    (r"^semantic_encoder\.first\.", "SemanticEncoder_module.initial_conv."),
    (r"^semantic_encoder\.conv1\.", "SemanticEncoder_module.residual_blocks.1."),
    (r"^semantic_encoder\.conv2\.", "SemanticEncoder_module.residual_blocks.3."),
    (r"^semantic_encoder\.last\.", "SemanticEncoder_module.final_conv."),
    (r"^enter\.", "fc_prior."),
    (r"^leave\.", "fc_post_a."),
    (r"^quantizer\.enter\.", "generator.quantizer.project_in."),
    (r"^quantizer\.leave\.", "generator.quantizer.project_out."),
    (r"^backbone\.enter\.", "generator.backbone.embed."),
    (r"^backbone\.before\.", "generator.backbone.prior_net."),
    (r"^backbone\.after\.", "generator.backbone.post_net."),
    (r"^backbone\.norm\.", "generator.backbone.final_layer_norm."),
    (r"^backbone\.transformer\.layers\.", "generator.backbone.transformers."),
    (r"(transformers\.\d+)\.norm1\.", r"\1.att_norm."), (r"(transformers\.\d+)\.norm2\.", r"\1.ffn_norm."),
    (r"(transformers\.\d+)\.qkv\.", r"\1.att.c_attn."), (r"(transformers\.\d+)\.out\.", r"\1.att.c_proj."),
    (r"(transformers\.\d+)\.widen\.", r"\1.mlp.fc1."), (r"(transformers\.\d+)\.narrow\.", r"\1.mlp.fc2."),
    (r"^head\.", "generator.head."),
)  # fmt: skip
HUGGING_FACE = (
    (r"^teacher\.model\.", TEACHERS[0]),
    (r"^semantic_encoder\.first\.", "semantic_adapter.conv1."),
    (r"^semantic_encoder\.conv2\.", "semantic_adapter.conv3."),
    (r"^semantic_encoder\.conv1\.", "semantic_adapter.conv2."),
    (r"^semantic_encoder\.last\.", "semantic_adapter.conv4."),
    (r"^enter\.", "fc_encoder."),
    (r"^leave\.", "acoustic_decoder.fc."),
    (r"^quantizer\.enter\.", "quantizer.project_in."),
    (r"^quantizer\.leave\.", "quantizer.project_out."),
    (r"^backbone\.enter\.", "acoustic_decoder.embed."),
    (r"^backbone\.before\.", "acoustic_decoder.prior_net."),
    (r"^backbone\.after\.", "acoustic_decoder.post_net."),
    (r"^backbone\.norm\.", "acoustic_decoder.norm."),
    (r"^backbone\.transformer\.", "acoustic_decoder."),
    (r"(decoder\.layers\.\d+)\.norm1\.", r"\1.input_layernorm."),
    (r"(decoder\.layers\.\d+)\.norm2\.", r"\1.post_attention_layernorm."),
    (r"(decoder\.layers\.\d+)\.qkv\.", r"\1.self_attn.qkv."),
    (r"(decoder\.layers\.\d+)\.out\.", r"\1.self_attn.o_proj."),
    (r"(decoder\.layers\.\d+)\.widen\.", r"\1.mlp.fc1."),
    (r"(decoder\.layers\.\d+)\.narrow\.", r"\1.mlp.fc2."),
    (r"^head\.out\.", "acoustic_decoder.head.linear."),
)  # fmt: skip
