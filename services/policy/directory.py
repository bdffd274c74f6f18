"""The directory: one lender's branches, officers, hours, policies and approved wording, from one YAML file.

An unusable file is one `DirectoryError`, whose `problems` names each path in it and the reason.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self
from unicodedata import category
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from schemas.base import LocalTime, Zone
from schemas.card import OfficerStatus
from schemas.problems import NOT_A_NUMBER, problems_of, shortened, why_unreadable, written
from services.policy.hours import Calendar, Exceptions, Hours
from services.policy.numbers import normalize_caller
from services.policy.strict_yaml import MAX_CHARS, YamlError, read_yaml
from services.policy.us_states import UsState, state_of
from services.policy.wording import wording_problems

CALLBACK_AT = time(8, 30)
"""When a business morning's first callbacks are due, local time of the branch."""


class DirectoryError(ValueError):
    """The directory cannot be used; `problems` has every path in the file that is wrong, and why."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(map(shortened, problems))
        super().__init__("; ".join(f"{source}: {problem}" for problem in self.problems))


def _phone(text: str) -> str:
    found = normalize_caller(text)
    if found.e164 is None or found.e164 != text:
        raise ValueError(f"{text!r} {NOT_A_NUMBER}")
    return text


def _text_of_id(value: object) -> object:
    # YAML reads 1234567 as a number; ids are text everywhere else.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _name(text: str) -> str:
    # Texts and greetings say it: it needs something to say, and nothing that a phone cannot.
    if text != text.strip() or not any(one.isalnum() for one in text):
        raise ValueError("is not a name; write letters, without a space before or behind them")
    if not text.isprintable() or any(category(one) in ("So", "Sk", "Cf", "Co", "Cn") for one in text):
        raise ValueError("is not a name; leave out emoji, symbols and characters that cannot be seen")
    return text


@cache
def _places() -> frozenset[str]:
    return frozenset(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/"))


def _place(zone: str) -> str:
    if zone not in _places():
        raise ValueError(f"{zone!r} is no place's time zone; write one such as America/New_York")
    return zone


PlainName = Annotated[str, Field(min_length=1), AfterValidator(_name)]
BranchZone = Annotated[Zone, AfterValidator(_place)]
Phone = Annotated[str, AfterValidator(_phone)]
Slug = Annotated[
    str,
    written(
        "[a-z0-9][a-z0-9-]{0,62}", "is not an id; write up to 63 lowercase letters, digits or '-', such as new-york"
    ),
]
NmlsId = Annotated[
    str, BeforeValidator(_text_of_id), written("[0-9]{1,12}", "is not an NMLS id; write up to 12 digits")
]
Language = Annotated[str, written("[a-z]{2,3}", "is not a language; write its two or three letters, such as en")]


class _Entry(BaseModel):
    """A frozen part of the file; an unknown key is most likely misspelled, so it is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Officer(_Entry):
    """A loan officer (or a manager: `role`)."""

    id: Slug
    name: Annotated[PlainName, Field(max_length=60)]
    phone: Phone
    nmls_id: NmlsId
    licensed_states: tuple[UsState, ...] = Field(min_length=1)
    products: tuple[Slug, ...] = ("purchase", "refinance")
    languages: tuple[Language, ...] = Field(default=("en",), min_length=1)
    weight: int = Field(default=1, ge=0, le=100, description="share of new leads beside the others; 0 is taken last")
    daily_capacity: int = Field(default=25, ge=0, le=1000, description="new leads a local day")
    status: OfficerStatus = Field(default="available", description="at start; afterwards the services keep it")
    role: Literal["officer", "manager"] = "officer"


class Branch(_Entry):
    """A branch: its numbers, its zone, when it is open, and who works there."""

    id: Slug
    name: Annotated[PlainName, Field(max_length=60)]
    numbers: tuple[Phone, ...] = Field(min_length=1, description="what borrowers dial; texts come from the first")
    time_zone: BranchZone
    states: tuple[UsState, ...] = Field(min_length=1)
    hours: Hours
    holidays: Literal["federal", "none"] = "federal"
    exceptions: Exceptions = Exceptions({})
    officers: tuple[Slug, ...] = Field(min_length=1)

    @property
    def zone(self) -> ZoneInfo:
        """The branch's time zone."""
        return ZoneInfo(self.time_zone)

    @property
    def calendar(self) -> Calendar:
        """When the branch is open."""
        return Calendar(
            zone=self.zone,
            hours=self.hours,
            exceptions=self.exceptions,
            federal_holidays=self.holidays == "federal",
        )


class StatePolicy(_Entry):
    """What holds for callers of one state; None leaves the lender's rule."""

    after_hours_text: bool | None = None
    second_text_needs_consent: bool | None = None


_NOTHING_ELSE = StatePolicy()


@dataclass(frozen=True, slots=True)
class CallerPolicy:
    """What the lender decided, for one caller: no question is left open."""

    after_hours_text: bool
    second_text_needs_consent: bool


class Policies(_Entry):
    """What the lender decided; `states` overrides it for callers of a state."""

    after_hours_text: bool = True
    second_text_needs_consent: bool = False
    states: dict[UsState, StatePolicy] = Field(default_factory=dict)

    def for_caller(self, e164: str) -> CallerPolicy:
        """Return the rules for a caller: those of the state that the area code names, else the lender's own."""
        state = state_of(e164)
        own = self.states.get(state, _NOTHING_ELSE) if state else _NOTHING_ELSE
        return CallerPolicy(
            after_hours_text=self.after_hours_text if own.after_hours_text is None else own.after_hours_text,
            second_text_needs_consent=(
                self.second_text_needs_consent
                if own.second_text_needs_consent is None
                else own.second_text_needs_consent
            ),
        )


class Template(_Entry):
    """One approved wording; placeholders are those of `wording.PLACEHOLDERS`. A changed text is a new version."""

    version: int = Field(ge=1)
    approved_by: PlainName
    approved_on: date
    text: Annotated[str, Field(min_length=1, max_length=600)]


class Directory(_Entry):
    """One lender. Everything that refers to something in here has been checked: ids exist, numbers are one branch's."""

    lender_id: Slug
    name: Annotated[PlainName, Field(max_length=40, description="as texts say it")]
    legal_name: PlainName
    nmls_id: NmlsId
    branches: tuple[Branch, ...] = Field(min_length=1)
    officers: tuple[Officer, ...] = Field(min_length=1)
    internal_numbers: tuple[Phone, ...] = Field(
        default=(), description="test callers: kept out of every figure (fact C12)"
    )
    policies: Policies = Policies()
    templates: dict[str, dict[str, Template]] = Field(default_factory=dict, description="family -> variant -> wording")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := list(self._problems()):
            raise ValueError("\n".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        yield from _twice("officers", [o.id for o in self.officers], "id")
        yield from _twice("branches", [b.id for b in self.branches], "id")
        known = {o.id for o in self.officers}
        dialed: dict[str, str] = {}
        for at, branch in enumerate(self.branches):
            for nth, officer_id in enumerate(branch.officers):
                if officer_id not in known:
                    yield f"branches[{at}].officers[{nth}]: no officer has the id {officer_id!r}"
                if officer_id in branch.officers[:nth]:
                    yield f"branches[{at}].officers[{nth}]: duplicate id {officer_id!r}"
            for nth, number in enumerate(branch.numbers):
                if number in dialed:
                    yield f"branches[{at}].numbers[{nth}]: {number} already belongs to branch {dialed[number]!r}"
                dialed[number] = branch.id
        at_work = {i for b in self.branches for i in b.officers}
        for at, officer in enumerate(self.officers):
            if officer.id not in at_work:
                yield f"officers[{at}].id: {officer.id!r} works at no branch"
            if officer.phone in dialed:
                # A call put through to it would come back to the branch, again and again.
                yield f"officers[{at}].phone: {officer.phone} is a branch's number"
        for family, variants in self.templates.items():
            for variant, template in variants.items():
                for problem in wording_problems(family, template.text):
                    yield f"templates.{family}.{variant}.text: {problem}"

    def branch(self, branch_id: str) -> Branch:
        """Return a branch.

        Raises:
            DirectoryError: there is none with this id.
        """
        for branch in self.branches:
            if branch.id == branch_id:
                return branch
        raise DirectoryError(self.lender_id, [f"no branch has the id {branch_id!r}"])

    def branch_by_number(self, e164: str) -> Branch | None:
        """Return the branch that owns a dialed number, or None: an unknown number is not ours."""
        return next((branch for branch in self.branches if e164 in branch.numbers), None)

    def officer(self, officer_id: str) -> Officer | None:
        """Return an officer, or None: stored leads may name one who has left."""
        return next((officer for officer in self.officers if officer.id == officer_id), None)

    def officers_of(self, branch_id: str) -> tuple[Officer, ...]:
        """Return a branch's people in the file's order."""
        there = self.branch(branch_id).officers
        return tuple(officer for officer_id in there for officer in self.officers if officer.id == officer_id)

    def is_open(self, branch: Branch | str, at: datetime) -> bool:
        """Return whether a branch is open at an instant: hours, lunch, holidays and exceptions counted."""
        return self._resolve(branch).calendar.is_open(at)

    def local_day(self, branch: Branch | str, at: datetime) -> date:
        """Return the date that a branch's wall calendar shows at an instant."""
        return at.astimezone(self._resolve(branch).zone).date()

    def next_business_morning(self, branch: Branch | str, after: datetime, at: time = CALLBACK_AT) -> LocalTime:
        """Return the first business morning strictly after an instant, as a local time (`.utc()` is the instant).

        A branch that never opens before noon has its first callbacks when it next opens; one that does not open at all,
        the next day: its borrowers still call, and somebody has to call them back.

        Source: facts C3, D5.
        """
        found = self._resolve(branch)
        day, at = found.calendar.next_callbacks(after, at)
        return LocalTime(on=day, at=at, zone=found.time_zone)

    def template(self, family: str, variant: str) -> Template:
        """Return an approved wording.

        Raises:
            DirectoryError: the lender has approved none for this family and variant.
        """
        try:
            return self.templates[family][variant]
        except KeyError:
            raise DirectoryError(self.lender_id, [f"templates.{family}.{variant}: not there"]) from None

    def nmls_ids(self, officer: Officer | None) -> str:
        """Return the ids a first text must show, officer/company, or the company's alone (12 CFR 1007.105(b))."""
        return f"{officer.nmls_id}/{self.nmls_id}" if officer else self.nmls_id

    def _resolve(self, branch: Branch | str) -> Branch:
        return self.branch(branch) if isinstance(branch, str) else branch


def _twice(where: str, ids: Sequence[str], field: str) -> Iterator[str]:
    for at, one in enumerate(ids):
        if one in ids[:at]:
            yield f"{where}[{at}].{field}: duplicate {field} {one!r}"


def parse_directory(text: str, source: str = "directory") -> Directory:
    """Read a directory.

    Args:
        text: the YAML.
        source: how errors call the file.

    Raises:
        DirectoryError: every problem with its path, like `branches[1].time_zone: unknown zone 'US/Pacfic'`.
    """
    try:
        data = read_yaml(text)
    except YamlError as error:
        raise DirectoryError(source, [str(error)]) from error
    if not isinstance(data, dict):
        raise DirectoryError(source, ["file: not a mapping of fields"])
    try:
        return Directory.model_validate(data)
    except ValidationError as error:
        problems = [f"{path}: {why}" if path else why for path, why in problems_of(error)]
        raise DirectoryError(source, problems) from error


def load_directory(path: Path | str) -> Directory:
    """Read a lender's directory file.

    Raises:
        DirectoryError: the file cannot be read, or every problem in it with its path.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(MAX_CHARS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise DirectoryError(str(path), [f"file: {why_unreadable(error)}"]) from error
    return parse_directory(text, str(path))
