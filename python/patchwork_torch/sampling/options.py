"""How images are generated; names, defaults and ranges are those of a sample stage."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..error import PatchworkError

SOLVERS = ("heun", "euler", "dpm-solver-2m")


@dataclass(frozen=True)
class SamplerOptions:
    """A solver with its noise levels, added noise and guidance."""

    solver: str = "heun"
    """`heun`: second order, `2 steps - 1` evaluations of the network (EDM, arXiv 2206.00364, Algorithm 2); `euler`: first
    order, `steps`; `dpm-solver-2m`: second-order multistep (arXiv 2211.01095, Algorithm 2), `steps`, deterministic."""
    steps: int = 18
    sigma_min: float = 0.002
    """The smallest noise level but zero."""
    sigma_max: float = 80.0
    """The noise level to start from."""
    rho: float = 7.0
    """How much shorter the steps near zero are (EDM, equation 5)."""
    s_churn: float = 0.0
    """How much fresh noise all steps together add; 0 is deterministic."""
    s_min: float = 0.0
    """No noise is added below this level."""
    s_max: float = math.inf
    """No noise is added above this level."""
    s_noise: float = 1.0
    """Standard deviation of the added noise."""
    guidance: float | None = None
    """Scale g of classifier-free guidance, `D = D_without + g (D_with - D_without)`; None and 1 are off."""
    guidance_interval: tuple[float, float] | None = None
    """Guidance at noise levels low < σ <= high alone (arXiv 2404.07724); None is everywhere."""

    def __post_init__(self) -> None:
        def require(holds: bool, key: str, rule: str) -> None:
            if not holds:
                raise PatchworkError(f"`{key}` is `{getattr(self, key)}`", rule)

        require(self.solver in SOLVERS, "solver", f"known are {', '.join(f'`{solver}`' for solver in SOLVERS)}")
        require(2 <= self.steps <= 10_000, "steps", "2 to 10,000 noise levels are possible")
        require(
            0 < self.sigma_min < self.sigma_max < math.inf,
            "sigma_min",
            f"above 0, below `sigma_max` = {self.sigma_max}",
        )
        require(0 < self.rho < math.inf, "rho", "above 0")
        require(0 <= self.s_churn <= 1e6, "s_churn", "0 to 1e6")
        require(
            self.s_churn == 0 or self.solver != "dpm-solver-2m",
            "s_churn",
            "`dpm-solver-2m` is deterministic: set it to 0",
        )
        require(0 <= self.s_min <= self.s_max, "s_min", f"0 to `s_max` = {self.s_max}")
        require(0 <= self.s_noise <= 10, "s_noise", "0 to 10")
        require(self.guidance is None or 0 < self.guidance < math.inf, "guidance", "above 0, or None")

    def gamma(self, sigma: float) -> float:
        """γ of a step: the share by which its noise level is raised."""
        if not self.s_min <= sigma <= self.s_max:
            return 0.0
        return min(self.s_churn / self.steps, math.sqrt(2) - 1)

    def is_guided(self, sigma: float) -> bool:
        """Whether guidance applies at a noise level."""
        if self.guidance is None or self.guidance == 1:
            return False
        return self.guidance_interval is None or self.guidance_interval[0] < sigma <= self.guidance_interval[1]
