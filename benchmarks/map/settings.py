"""The grid of the map: worlds, numbers of labels, seeds, and where networks are trained."""

from __future__ import annotations

from dataclasses import dataclass

ALIGNMENTS = (0.0, 0.3, 0.6, 0.9)
OFF_POLICYNESSES = (0.0, 0.5, 1.0)
LABELS = (100, 200, 400)
"""Human pairs in HF100; half of them are HF50, and as many prompts are D_U."""
FIRST_SEED = 9
"""Seeds 0 to 8 were looked at while the theory was made, 300 to 303 are development worlds."""
SEEDS = 9
NETWORK_SEEDS = 5
DRAWS = 2
"""Draws of the labels a seed with linear heads, whose mean is the seed's number."""
SFT_STEPS = 500
"""Half of the default: the map trains 36 policies."""
NETWORK_RUNS = 1
"""Trainings whose weights are averaged; a third of the default."""
TRAIN_PAIRS = 800
TEST_PAIRS = 1500
"""Human pairs from which labels are drawn."""
SAMPLES_FOR_FORECAST = 16
"""Random samples a prompt that the forecast sees."""
FORECAST_DRAWS = 60
KAPPA_RESAMPLES = 20


@dataclass(frozen=True, order=True)
class Place:
    """A place on the map."""

    alignment: float
    off_policyness: float
    labels: int

    @property
    def name(self) -> str:
        """Such as `0.9, 1, 100`."""
        return f"{self.alignment:g}, {self.off_policyness:g}, {self.labels}"


SIZES_AT = Place(0.9, 1.0, 100)
"""Where the gain against N is measured."""
NETWORK_PLACES = (
    Place(0.0, 0.0, 100),
    Place(0.0, 1.0, 100),
    Place(0.3, 0.5, 100),
    Place(0.6, 0.5, 100),
    Place(0.9, 0.0, 100),
    Place(0.9, 1.0, 100),
)
"""The corners and the diagonal."""
METRICS = {
    "accuracy": "held-out accuracy, points",
    "on_policy_accuracy": "on-policy accuracy, points",
    "best_of_n_gold": "best-of-64 gold",
    "best_of_n_win_rate": "best-of-64 wins, points",
}
ARMS = {
    "hf100": "HF100",
    "west": "West-of-N",
    "west16": "16 best with 16 worst",
    "n2": "N = 2",
    "best_random": "best against random",
    "prior1": "covariance prior, p = 1",
    "prior": "covariance prior, p by validation",
}
"""Arm -> what pages call it; every one is compared with HF50."""
