"""Intents: what a spoken command wants, and the wordings in which it is said.

In the manner of Fluent Speech Commands (Lugosch et al., "Speech Model Pre-training for End-to-End Spoken Language
Understanding", 2019), with words of our own: an intent is an action, an object and a place, of which 31 combinations are here.
Wordings held out say the same with words that the others have too, in another order or among other words, as in the test of
unseen utterances of Arora et al., "Rethinking End-to-End Evaluation of Decomposable Tasks", 2021.
"""

from dataclasses import dataclass

NOWHERE = "none"  # as the data set calls the place of a command that names none
THINGS = {  # (actions, objects): places
    (("switch on", "switch off"), ("fan",)): (NOWHERE, "garage", "office", "nursery"),
    (("raise", "lower"), ("blinds",)): (NOWHERE, "kitchen", "nursery"),
    (("brighten", "dim"), ("lamp",)): (NOWHERE, "hallway", "office"),
    (("start", "stop"), ("radio", "film", "dishwasher")): (NOWHERE,),
    (("bring",), ("towel", "tea", "umbrella", "slippers", "glasses")): (NOWHERE,),
}
HELD_OUT = 2  # of each action's wordings, the last
WORDINGS = {  # {place} is "" or " in the kitchen", {room} is "" or "kitchen "
    "switch on": (
        "switch on the {room}{object}", "turn the {object} on{place}", "let the {object} run{place}",
        "I want the {room}{object} running", "turn on the {room}{object} please", "have the {object} switched on{place}",
    ),
    "switch off": (
        "switch off the {room}{object}", "turn the {object} off{place}", "no more of the {object}{place}",
        "I want the {room}{object} silent", "turn off the {room}{object} please", "have the {object} switched off{place}",
    ),
    "raise": (
        "raise the {room}{object}", "pull the {object} up{place}", "open the {object}{place}",
        "let the sun in through the {room}{object}", "pull up the {room}{object}", "please open the {room}{object}",
    ),
    "lower": (
        "lower the {room}{object}", "pull the {object} down{place}", "close the {object}{place}",
        "keep the sun out with the {room}{object}", "pull down the {room}{object}", "please close the {room}{object}",
    ),
    "brighten": (
        "brighten the {object}{place}", "make the {room}{object} brighter", "more light from the {object}{place}",
        "it is too dark, help me with the {room}{object}", "could you brighten the {room}{object}",
        "I want the {object} brighter{place}",
    ),
    "dim": (
        "dim the {object}{place}", "make the {room}{object} darker", "less light from the {object}{place}",
        "it is too bright, help me with the {room}{object}", "could you dim the {room}{object}",
        "I want the {object} darker{place}",
    ),
    "start": (
        "start the {object}", "get the {object} going", "I would like the {object} now", "begin with the {object}",
        "could you start the {object} now", "please get going with the {object}",
    ),
    "stop": (
        "stop the {object}", "put an end to the {object}", "that is enough of the {object}", "I am done with the {object}",
        "could you stop the {object} now", "enough of the {object} please",
    ),
    "bring": (
        "bring me the {object}", "I need the {object}", "fetch the {object} for me", "get the {object} over here",
        "could you fetch me the {object}", "please bring the {object} over here",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Intent:
    """What a command wants: an action, an object and a place."""

    action: str
    object: str
    place: str

    @property
    def label(self) -> str:
        """The three with slashes between them: the class that probes learn."""
        return f"{self.action}/{self.object}/{self.place}"

    @property
    def known(self) -> tuple[str, ...]:
        """Wordings to learn from."""
        return self._wordings()[:-HELD_OUT]

    @property
    def held_out(self) -> tuple[str, ...]:
        """Wordings that are heard in a test alone."""
        return self._wordings()[-HELD_OUT:]

    def _wordings(self) -> tuple[str, ...]:
        place, room = ("", "") if self.place == NOWHERE else (f" in the {self.place}", f"{self.place} ")
        return tuple(text.format(object=self.object, place=place, room=room) for text in WORDINGS[self.action])


INTENTS = tuple(
    Intent(action, thing, place)
    for (actions, things), places in THINGS.items()
    for action in actions
    for thing in things
    for place in places
)
