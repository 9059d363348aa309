"""A job for tests, in a file that other processes can import by its own name."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from toneme.eval.jobs import Job


@dataclass(frozen=True)
class Square(Job):
    """Squares a number and says in which process, on which device."""

    number: int
    alone: bool = False
    fails: bool = False
    dies: bool = False
    breaks: bool = False
    waits_in: str = ""

    @property
    def keys(self):
        return (f"square {self.number}", f"process {self.number}")

    def run(self, wanted, device):
        if self.dies:
            os._exit(9)
        if self.breaks:
            raise ValueError("a number too many")
        if self.waits_in:
            Path(self.waits_in, f"{self.number}.tmp").write_text(str(os.getpid()))
            os.replace(Path(self.waits_in, f"{self.number}.tmp"), Path(self.waits_in, f"{self.number}.pid"))
            try:
                time.sleep(60)
            finally:
                Path(self.waits_in, f"{self.number}.cleared").touch()
        if self.fails:
            return {key: {"error": "no luck"} for key in wanted}
        found = {self.keys[0]: {"value": self.number**2}, self.keys[1]: {"pid": os.getpid(), "device": device}}
        return {key: found[key] for key in wanted}
