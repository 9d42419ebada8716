"""The view of a running deployment, and the effects that change it, which the page's script applies."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

# `look` and `ready` are the form's: its first station, while a name is checked and when it can be had.
StationState = Literal["wait", "look", "ready", "now", "done", "undone", "failed", "off"]


@dataclass(frozen=True)
class Station:
    """One step as it is shown. note: its duration, or what it will do; in the viewer's language.

    began: since when (ISO 8601) it is being worked on, where it is.
    """

    name: str
    label: str
    state: StationState
    state_text: str
    note: str
    began: str = ""


@dataclass(frozen=True)
class QueuePlace:
    """Where the deployment waits. before: the step that it waits for; position: 1 is next."""

    before: str
    position: int

    @property
    def between(self) -> int:
        """How many of those ahead are told as a number, since there is room for one or two."""
        return self.position - 2 if self.position > 3 else 0

    @property
    def shown(self) -> Sequence[int]:
        """The places that are drawn, whoever is next last."""
        return [1] if self.between else range(self.position - 1, 0, -1)


@dataclass(frozen=True)
class LogRow:
    """One row of the log. n: the event's number; time: minutes and seconds since the start; step: a step's label.

    raw: a line of Dokploy's own, which no language has other words for.
    """

    n: int
    time: str
    step: str
    text: str
    raw: bool = False


@dataclass
class View:
    """A deployment as it is shown while it runs, in the viewer's language. Effects change it.

    sentence: what goes on now; queue: where it waits, if it does; cancelable: whether it can still be canceled.
    """

    stations: list[Station]
    cancelable: bool
    sentence: str = ""
    log: list[LogRow] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    queue: QueuePlace | None = None
    undoing: bool = False


# The effects: a closed vocabulary, which `static/progress.js` applies to the page as `apply` does to the view.


@dataclass(frozen=True)
class StepEffect:
    """A step looks otherwise. name: empty for every step; only: the states in which it changes, where not in any.

    words: the state in words; note: null leaves what is there; since: when work on it began, where it is under way.
    """

    effect: Literal["step"] = field(default="step", kw_only=True)
    name: str
    only: Sequence[StationState]
    state: StationState
    words: str
    note: str | None
    since: str

    def apply(self, view: View) -> None:
        """Change the steps that are meant."""
        view.stations = [self._changed(each) if self._is_meant(each) else each for each in view.stations]

    def _is_meant(self, station: Station) -> bool:
        return self.name in {"", station.name} and (not self.only or station.state in self.only)

    def _changed(self, station: Station) -> Station:
        note = station.note if self.note is None else self.note
        return replace(station, state=self.state, state_text=self.words, note=note, began=self.since)


@dataclass(frozen=True)
class SentenceEffect:
    """Something else goes on now. spoken: whether a screen reader says it."""

    effect: Literal["sentence"] = field(default="sentence", kw_only=True)
    text: str
    spoken: bool

    def apply(self, view: View) -> None:
        """Say it in place of what was said before."""
        view.sentence = self.text


@dataclass(frozen=True)
class LogEffect:
    """The log has one more row. n: the event's number; raw: whether it is a line of Dokploy's, in no language of ours.

    time: minutes and seconds since the request; step: the label of the step that it is about, or empty.
    """

    effect: Literal["log"] = field(default="log", kw_only=True)
    n: int
    time: str
    step: str
    text: str
    raw: bool

    def apply(self, view: View) -> None:
        """Add the row."""
        view.log.append(LogRow(self.n, self.time, self.step, self.text, self.raw))


@dataclass(frozen=True)
class WarningEffect:
    """There is something to know that stays true."""

    effect: Literal["warning"] = field(default="warning", kw_only=True)
    text: str

    def apply(self, view: View) -> None:
        """Add it to the others."""
        view.warnings.append(self.text)


@dataclass(frozen=True)
class QueueEffect:
    """It waits in a queue. before: the step that it waits for; position: 1 is next.

    between: how many of those ahead are told as a number; shown: the places that are drawn.
    """

    effect: Literal["queue"] = field(default="queue", kw_only=True)
    before: str
    position: int
    between: int
    shown: Sequence[int]

    def apply(self, view: View) -> None:
        """Put it at its place."""
        view.queue = QueuePlace(self.before, self.position)


@dataclass(frozen=True)
class DequeueEffect:
    """It does not wait in a queue any more."""

    effect: Literal["dequeue"] = field(default="dequeue", kw_only=True)

    def apply(self, view: View) -> None:
        """Take it out."""
        view.queue = None


@dataclass(frozen=True)
class UndoEffect:
    """It rolls back its changes from here on."""

    effect: Literal["undo"] = field(default="undo", kw_only=True)

    def apply(self, view: View) -> None:
        """Turn back."""
        view.undoing = True


@dataclass(frozen=True)
class UncancelableEffect:
    """It cannot be canceled any more, or is being canceled already."""

    effect: Literal["uncancelable"] = field(default="uncancelable", kw_only=True)

    def apply(self, view: View) -> None:
        """Do not offer it any more."""
        view.cancelable = False


@dataclass(frozen=True)
class ReloadEffect:
    """The page is to be fetched again: it is over, or the reader is not where it thinks to be."""

    effect: Literal["reload"] = field(default="reload", kw_only=True)

    def apply(self, view: View) -> None:
        """Change nothing: what is shown next is not made of effects."""


Effect = (
    StepEffect
    | SentenceEffect
    | LogEffect
    | WarningEffect
    | QueueEffect
    | DequeueEffect
    | UndoEffect
    | UncancelableEffect
    | ReloadEffect
)


def as_json(effects: Sequence[Effect]) -> list[dict[str, Any]]:
    """Return effects as JSON values."""
    return [asdict(effect) for effect in effects]
