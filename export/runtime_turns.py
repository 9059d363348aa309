"""Memory that calls of a stream's graph read and write in turns. Needs numpy alone.

What one call writes as states the next one reads where it lies, and a ring stays where it is. Naming a dozen arrays to ONNX
Runtime and taking a dozen new ones from it at every call costs a twentieth of a step of 80 ms, for its memory is out of the
cache each time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .runtime_rings import Array, write_rows


class Turns:
    """Two sets of states and one of inputs and outputs, given to a session once, for calls of one shape.

    Args:
        session: of ONNX Runtime.
        inputs, states: what a call was given and the states after it, by name.
        names: of its outputs, states last and in their order.
        values: what the call gave, likewise.
        rings: the axis of each state that is one (`runtime_rings`).
    """

    def __init__(
        self,
        session: Any,
        inputs: Mapping[str, Array],
        states: Mapping[str, Array],
        names: Sequence[str],
        values: Sequence[Array],
        rings: Mapping[str, int],
    ) -> None:
        self._session, self._turn, self._rings = session, 0, rings
        count = len(values) - len(states)
        self._inputs = {name: _like(value) for name, value in inputs.items()}
        self._outputs = [_like(value) for value in values[:count]]
        first = {name: _like(value) for name, value in states.items()}
        self._states = [first, {name: value if name in rings else _like(value) for name, value in first.items()}]
        self._rows = {name: _like(value) for name, value in zip(states, values[count:], strict=True) if name in rings}
        self._bindings = [self._bound(names, *pair) for pair in (self._states, self._states[::-1])]

    def fits(self, inputs: Mapping[str, Array]) -> bool:
        """Say whether a call has the inputs that these are for."""
        return all(inputs[name].shape == value.shape for name, value in self._inputs.items())

    def run(self, inputs: Mapping[str, Array], states: dict[str, Array]) -> tuple[list[Array], dict[str, Array]]:
        """Return outputs and the states after them, which stay as they are until the call after the next."""
        before = self._states[self._turn]
        pairs = [(self._inputs, inputs)] if states is before else [(self._inputs, inputs), (before, states)]
        for memory, values in pairs:
            for name, value in memory.items():
                if value is not values[name]:  # a ring that a call of another shape went on with
                    value[...] = values[name]
        self._session.run_with_iobinding(self._bindings[self._turn])
        write_rows(before, self._rows, self._rings)
        self._turn = 1 - self._turn
        return [value.copy() for value in self._outputs], self._states[self._turn]

    def _bound(self, names: Sequence[str], before: dict[str, Array], after: dict[str, Array]) -> Any:
        binding = self._session.io_binding()
        for name, value in (*self._inputs.items(), *before.items()):
            binding.bind_input(name, "cpu", 0, value.dtype.type, value.shape, value.ctypes.data)
        for name, value in zip(names, (*self._outputs, *{**after, **self._rows}.values()), strict=True):
            binding.bind_output(name, "cpu", 0, value.dtype.type, value.shape, value.ctypes.data)
        return binding


def _like(value: Array) -> Array:
    return np.empty_like(value, order="C")
