"""A job for tests, in a file that other processes can import by its own name."""

import os
from dataclasses import dataclass

from toneme.eval.jobs import Job


@dataclass(frozen=True)
class Square(Job):
    """Squares a number and says in which process, on which device."""

    number: int
    alone: bool = False
    fails: bool = False
    dies: bool = False

    @property
    def keys(self):
        return (f"square {self.number}", f"process {self.number}")

    def run(self, wanted, device):
        if self.dies:
            os._exit(9)
        if self.fails:
            return {key: {"error": "no luck"} for key in wanted}
        found = {self.keys[0]: {"value": self.number**2}, self.keys[1]: {"pid": os.getpid(), "device": device}}
        return {key: found[key] for key in wanted}
