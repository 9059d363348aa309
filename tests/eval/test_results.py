"""Files of results: whatever clips are called."""

import json
import os

from toneme.eval.results import write_results
from toneme.eval.suite import Findings, Section, Table


def test_names_that_are_no_text_do_not_cost_the_report(tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    section = Section("worst", tables=(Table(["codec", "1"], [["x", f"{name}: 2.000"]]),))
    write_results(tmp_path, {}, {"reconstruction": Findings([], [section], {"clips": [{"clip": name}]})})
    assert r"caf\udce9.wav: 2.000" in (tmp_path / "report.html").read_text(encoding="utf-8")
    details = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["details"]
    assert details["reconstruction"]["clips"] == [{"clip": name}]
