"""The outcome of a check, as a value."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmed.data.facts import Facts
from segmed.data.listing import Finding


@dataclass(frozen=True)
class CheckReport:
    """What was found in a data set: faults, worst first, and facts. `ok` is true where nothing is an error."""

    root: Path
    findings: tuple[Finding, ...]
    facts: Facts

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that must be mended before results can be trusted."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings and notes may remain."""
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "root": str(self.root),
            "ok": self.ok,
            "facts": self.facts.to_json(),
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
        }
