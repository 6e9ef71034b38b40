"""Labels for `lerobot-train`, as `sarm2` wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from progress_rm.models.multiview_sarm.lerobot_batches import LeRobotBatches

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from progress_rm.labels import EpisodeLabels


class Sarm2Batches(LeRobotBatches):
    """As `multiview_sarm`'s, but that "within" is how much of the task is done, not of the stage."""

    def _positions(self, labels: EpisodeLabels) -> NDArray[np.float32]:
        return labels.progress
