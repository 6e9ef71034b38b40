"""`small_cnn`: a convolutional encoder trained with the reward model on the user's own frames."""

from __future__ import annotations

from torch import Tensor, nn

from progress_rm.encoders.trained import TrainedEncoder


class SmallCnnEncoder(TrainedEncoder):
    """Four convolutions and a projection; learns everything from the user's frames. See `TrainedEncoder`."""

    name = "small_cnn"

    def __init__(self, image_size: int = 96, dim: int = 128) -> None:
        super().__init__(image_size, dim)
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, 32, 6, stride=3, padding=2),
            nn.ReLU(),
            nn.Conv2d(32, 48, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(48, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 48, 3, stride=1, padding=1),
            nn.ReLU(),
        )
        self.finish()

    def maps(self, images: Tensor) -> Tensor:
        """See `TrainedEncoder.maps`."""
        maps: Tensor = self.convolutions(images - 0.5)
        return maps
