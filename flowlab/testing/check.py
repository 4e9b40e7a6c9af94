"""The check of one bijector, and its report."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from flowlab.bijectors.base import Bijector
from flowlab.testing import behaviour, maths
from flowlab.testing.property import NotApplicable, Property
from flowlab.testing.subject import Subject

DTYPES = (torch.float32, torch.float64)
_CHECKED = [each for module in (maths, behaviour) for each in vars(module).values() if isinstance(each, Property)]
PROPERTIES = tuple(replace(each, number=number) for number, each in enumerate(_CHECKED, start=1))


@dataclass(frozen=True)
class Finding:
    """Whether one property holds in one dtype: True or False, or None where it does not apply.

    The detail is the error, with the smallest example found, or the reason why the property does not apply.
    """

    name: str
    claim: str
    dtype: torch.dtype
    holds: bool | None
    detail: str = ""

    @property
    def word(self) -> str:
        return {True: "holds", False: "FAILS", None: "-"}[self.holds]


@dataclass(frozen=True)
class Report:
    """The findings on one bijector, one for each property and dtype; true if no property fails."""

    bijector: str
    findings: tuple[Finding, ...]

    def __bool__(self) -> bool:
        return all(finding.holds is not False for finding in self.findings)

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.holds is False)

    def require(self) -> None:
        """Pass a test if no property fails.

        Raises:
            AssertionError: a property fails; the message is the report.
        """
        if not self:
            raise AssertionError(f"\n{self}")

    def __str__(self) -> str:
        dtypes = list(dict.fromkeys(finding.dtype for finding in self.findings))
        lines = [f"{self.bijector}", f"{'':13}" + "".join(f"{_name(dtype):>9}" for dtype in dtypes)]
        for name in dict.fromkeys(finding.name for finding in self.findings):
            found = [finding for finding in self.findings if finding.name == name]
            words = "".join(f"{finding.word:>9}" for finding in found)
            lines.append(f"{name:13}{words}  {found[0].detail if found[0].holds is None else found[0].claim}")
        for finding in self.failures:
            lines.append(f"{finding.name}, {_name(finding.dtype)}: {finding.detail}")
        checked = [finding for finding in self.findings if finding.holds is not None]
        return "\n".join([*lines, f"holds: {len(checked) - len(self.failures)} of {len(checked)}"])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def check_bijector(
    bijector: Bijector,
    *,
    dim: int = 3,
    context_dim: int | None = None,
    initial: Callable[[Tensor], Tensor] | None = None,
    invalid: Mapping[str, Callable[[], object]] | None = None,
    dtypes: Sequence[torch.dtype] = DTYPES,
) -> Report:
    """Check every property that the library's bijectors must have.

    Hypothesis draws the points and the parameters, the same ones every time. The check takes a few seconds.

    Arguments:
        bijector: the bijector; it is copied and not changed.
        dim: the length of its vectors; any length for an elementwise map.
        context_dim: the length of its context, if it needs one.
        initial: its documented map before training, such as `lambda x: x` if it is initialized to the identity.
        invalid: calls that must raise an error, by words of the message: {"scale=0.0": lambda: Mine(scale=0.0)}.
        dtypes: the dtypes to check.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import Bijector
        >>> from flowlab.testing import check_bijector
        >>> class Triple(Bijector):
        ...     sign = +1
        ...     def forward_and_log_det(self, x, context=None):
        ...         return 3 * x, torch.full_like(x, 3.0)  # where it should be log(3)
        ...     def inverse_and_log_det(self, y, context=None):
        ...         return y / 3, torch.full_like(y, -3.0)
        >>> report = check_bijector(Triple(), dtypes=[torch.float64])
        >>> bool(report), [finding.name for finding in report.failures]
        (False, ['log det', 'mass'])
        >>> print(report.failures[0].detail.splitlines()[0])
        log det of f: 9 where 3.29583687 is expected, to within 4.3e-09
    """
    findings = []
    for dtype in dtypes:
        subject = Subject(bijector, dtype, dim, context_dim, initial, invalid or {})
        findings += [find(each, subject) for each in PROPERTIES]
    return Report(repr(bijector), tuple(findings))


def find(each: Property, subject: Subject) -> Finding:
    """Check one property of one bijector."""
    holds: bool | None = True
    detail = ""
    try:
        each.check(subject)
    except NotApplicable as why_not:
        holds, detail = None, str(why_not)
    except Exception as error:  # a bijector may raise anything
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        holds, detail = False, "\n".join([f"{kind}{error}", *getattr(error, "__notes__", ())])
    return Finding(each.name, each.claim, subject.dtype, holds, detail)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
