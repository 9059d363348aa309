"""The names that published checkpoints give to SEANet's tensors: layers counted in one sequence, activations included."""

from .seanet import SEANetConfig

NORMED = {"time_group_norm"}


def encoder_names(config: SEANetConfig) -> dict[str, str]:
    """Return our tensor name -> official name (below `encoder.`), weight norm folded."""
    names, at = _conv("first", "model.0", config), 1
    for stage in range(len(config.ratios)):
        for block in range(config.residual_layers):
            names |= _block(f"stages.{stage}.blocks.{block}", f"model.{at}", config)
            at += 1
        names |= _activation(f"stages.{stage}.act", f"model.{at}", config)
        names |= _conv(f"stages.{stage}.down", f"model.{at + 1}", config)
        at += 2
    if config.lstm:
        names |= _lstm(f"model.{at}", config, config.bidirectional)
        at += 1
    return names | _activation("act", f"model.{at}", config) | _conv("last", f"model.{at + 1}", config)


def decoder_names(config: SEANetConfig) -> dict[str, str]:
    """Return our tensor name -> official name (below `decoder.`), weight norm folded."""
    names, at = _conv("first", "model.0", config), 1
    if config.lstm:
        names |= _lstm("model.1", config, both=False)
        at = 2
    for stage in range(len(config.ratios)):
        names |= _activation(f"stages.{stage}.act", f"model.{at}", config)
        names |= _conv(f"stages.{stage}.up", f"model.{at + 1}", config, "convtr")
        at += 2
        for block in range(config.residual_layers):
            names |= _block(f"stages.{stage}.blocks.{block}", f"model.{at}", config)
            at += 1
    return names | _activation("act", f"model.{at}", config) | _conv("last", f"model.{at + 1}", config)


def _conv(ours: str, theirs: str, config: SEANetConfig, kind: str = "conv") -> dict[str, str]:
    names = {f"{ours}.{part}": f"{theirs}.{kind}.{kind}.{part}" for part in ("weight", "bias")}
    if config.norm in NORMED:
        names |= {f"{ours}.norm.{part}": f"{theirs}.{kind}.norm.{part}" for part in ("weight", "bias")}
    return names


def _block(ours: str, theirs: str, config: SEANetConfig) -> dict[str, str]:
    names = _conv(f"{ours}.conv1", f"{theirs}.block.1", config) | _conv(f"{ours}.conv2", f"{theirs}.block.3", config)
    names |= _activation(f"{ours}.act1", f"{theirs}.block.0", config)
    names |= _activation(f"{ours}.act2", f"{theirs}.block.2", config)
    return names if config.true_skip else names | _conv(f"{ours}.shortcut", f"{theirs}.shortcut", config)


def _activation(ours: str, theirs: str, config: SEANetConfig) -> dict[str, str]:
    return {f"{ours}.alpha": f"{theirs}.alpha"} if config.activation == "snake" else {}


def _lstm(theirs: str, config: SEANetConfig, both: bool) -> dict[str, str]:
    ends = [f"_l{layer}{way}" for layer in range(config.lstm) for way in ([""] + ["_reverse"] * both)]
    parts = [part + end for end in ends for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    return {f"lstm.{part}": f"{theirs}.lstm.{part}" for part in parts}
