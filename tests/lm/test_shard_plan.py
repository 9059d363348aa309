"""Plans of shards: what is written beside them, whatever the locale."""

import os
import subprocess
import sys

MAKE = """
import sys
from pathlib import Path
from toneme.lm.shard_item import About
from toneme.lm.shard_plan import ShardFolder

about = About("m\\u00fcller", "0123", 24000, 1, (50.0,), ((1024,),))
ShardFolder.plan(Path(sys.argv[1]), about, ".parquet", ["\\u3042.wav"])
"""


def test_the_card_is_utf_8_where_the_locale_is_not(tmp_path):
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", MAKE, str(tmp_path)], env={**os.environ, **ascii_only}, check=True)
    assert "codebooks of m\u00fcller with" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "\\u3042.wav" in (tmp_path / "plan.jsonl").read_text(encoding="ascii")
