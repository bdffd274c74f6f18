"""A share with what its number of cases is worth: Wilson's interval of a binomial proportion."""

from dataclasses import dataclass
from math import sqrt
from typing import Final

Z_95: Final = 1.959964


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many.

    Attributes:
        part: may end in a half: a doubt counts half.
        whole: >= 0.
    """

    part: float
    whole: int

    @property
    def value(self) -> float:
        """Return the share; 0 of nothing is 0."""
        return self.part / self.whole if self.whole else 0.0

    def interval(self) -> tuple[float, float]:
        """Return Wilson's 95 % interval; of no case, everything is possible."""
        n, p = self.whole, self.value
        if n == 0:
            return 0.0, 1.0
        middle, spread = p + Z_95**2 / (2 * n), Z_95 * sqrt(p * (1 - p) / n + Z_95**2 / (4 * n * n))
        return max(0.0, (middle - spread) / (1 + Z_95**2 / n)), min(1.0, (middle + spread) / (1 + Z_95**2 / n))

    def __str__(self) -> str:
        if not self.whole:
            return "-"
        low, high = self.interval()
        return f"{self.value:.1%} ({low:.1%} - {high:.1%})"
