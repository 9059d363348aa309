"""Values of DAC's own distances, for the tests of ours: needs `descript-audio-codec` 1.0.0 and soundfile.

python -P tests/goldens/metrics/make.py
"""

import json
from pathlib import Path

import numpy as np
import soundfile
from audiotools import AudioSignal
from dac.nn.loss import MelSpectrogramLoss, MultiScaleSTFTLoss

FOLDER = Path(__file__).parent
SPEECH = FOLDER.parents[2] / "samples" / "speech.wav"


def main() -> None:
    """Write `dac.json`."""
    target, rate = soundfile.read(SPEECH, dtype="float32")
    estimate = (0.8 * target + 0.1 * np.roll(target, 480)).astype(np.float32)
    ours, theirs = AudioSignal(estimate, rate), AudioSignal(target, rate)
    values = {
        "mel_distance": MelSpectrogramLoss()(ours, theirs).item(),
        "stft_distance": MultiScaleSTFTLoss()(ours, theirs).item(),
    }
    (FOLDER / "dac.json").write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
