"""The feature store: what an encoder says about every frame of a dataset, computed once and kept as float16.

One zarr (v3) array a dataset, encoder and view, [episodes, longest, dim], in chunks of one episode: to read an
episode's view is to read one file, and processes that fill different (episode, view) pairs never touch the same
file. Frames beyond an episode's end are fill and compress to nothing. A second array, `done` [episodes], is marked
after the features lie on disk, so a pair is there whole or not at all, whenever the process was killed.
"""

from __future__ import annotations

import hashlib
import queue
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from progress_datasets.errors import UserError

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset
    from progress_datasets.video import Image

Encode = Callable[["Image"], npt.NDArray[Any]]
"""uint8 [N, H, W, 3] → float [N, dim]."""
Pair = tuple[int, str]

READ_AHEAD = 4
"""Batches decoded before the encoder asks for them."""


class FeatureStore:
    """Features of one dataset by one encoder.

    Args:
        folder: where stores are kept; made if need be. Datasets and encoders share it.
        dataset: the episodes.
        encoder_key: names the encoder and everything that changes what it returns (weights, picture size …).
        dim: features a frame.

    Raises:
        UserError: the folder holds features of another size under the same key.
    """

    def __init__(self, folder: str | Path, dataset: EpisodeDataset, encoder_key: str, dim: int) -> None:
        self.dataset, self.encoder_key, self.dim = dataset, encoder_key, dim
        self.folder = Path(folder) / f"{dataset.fingerprint}-{_file_name(encoder_key)}"
        self._arrays: dict[str, Any] = {}
        self._done: set[Pair] = set()

    def fill(
        self,
        encode: Encode,
        views: Sequence[str] | None = None,
        episodes: Sequence[int] | None = None,
        batch_size: int | None = 64,
        progress: bool = True,
    ) -> int:
        """Encode what is not done yet: each view of each episode is decoded once, from first to last frame.

        Decoding runs in a thread of its own, ahead of the encoder. Interrupt it, or run it in several processes on
        different views or episodes, as you like.

        Args:
            encode: uint8 [N, H, W, 3] → [N, dim]; frames of a batch follow each other in one view of one episode.
            views: None means all.
            episodes: None means all.
            batch_size: frames a call; None hands over a whole episode at once (for encoders that look at motion).
            progress: show a progress bar.

        Returns:
            Number of frames encoded.

        Raises:
            UserError: a view is unknown, a video is damaged, or the encoder returns the wrong shape or NaN.
        """
        from tqdm import tqdm

        pairs = self.missing(views, episodes)
        total = sum(self.dataset.length(episode) for episode, _ in pairs)
        parts: list[npt.NDArray[np.float16]] = []
        with tqdm(
            total=total, unit="frame", desc=f"encode ({self.encoder_key})", disable=not progress
        ) as bar:
            for (episode, view), batch, last in _decoded_ahead(self.dataset, pairs, batch_size):
                parts.append(self._checked(encode(batch), len(batch), episode, view))
                bar.update(len(batch))
                if last:
                    self.write(episode, view, np.concatenate(parts))
                    parts.clear()
        return total

    def missing(
        self, views: Sequence[str] | None = None, episodes: Sequence[int] | None = None
    ) -> list[Pair]:
        """(episode, view) pairs that exist in the dataset and are not done yet, one view after the other."""
        for view in views or ():
            self.dataset.image_shape(view)
        pairs = []
        for view in views if views is not None else self.dataset.views:
            done = self._open(view)["done"][:]
            for episode in episodes if episodes is not None else range(self.dataset.num_episodes):
                if view in self.dataset.episode_views(episode) and not done[episode]:
                    pairs.append((episode, view))
        return pairs

    def write(self, episode: int, view: str, features: npt.NDArray[Any]) -> None:
        """Keep one episode's view: [T, dim]."""
        length = self.dataset.length(episode)
        checked = self._checked(features, length, episode, view)
        group = self._open(view)
        padded = np.zeros((1, group["features"].shape[1], self.dim), dtype=np.float16)
        padded[0, :length] = checked
        group["features"][episode : episode + 1] = padded
        group["done"][episode : episode + 1] = np.ones(1, dtype=bool)

    def has(self, episode: int, view: str) -> bool:
        """Whether this pair is done."""
        if (episode, view) not in self._done and self._open(view)["done"][episode]:
            self._done.add((episode, view))
        return (episode, view) in self._done

    def read(self, episode: int, view: str) -> npt.NDArray[np.float16]:
        """float16 [T, dim].

        Raises:
            UserError: the episode has no such view, or it is not encoded yet.
        """
        if view not in self.dataset.episode_views(episode):
            raise UserError(f"{self.dataset.root}, episode {episode}: there is no view '{view}'")
        if not self.has(episode, view):
            raise UserError(
                f"{self.folder}: episode {episode}, view '{view}' is not encoded yet; fill the feature store first"
            )
        return np.asarray(
            self._open(view)["features"][episode, : self.dataset.length(episode)], dtype=np.float16
        )

    def _checked(
        self, features: npt.NDArray[Any], count: int, episode: int, view: str
    ) -> npt.NDArray[np.float16]:
        where = f"encoder '{self.encoder_key}', {self.dataset.root}, episode {episode}, view '{view}'"
        if features.shape != (count, self.dim):
            raise UserError(
                f"{where}: returned {list(features.shape)} for {[count, self.dim]}; check its `dim`"
            )
        # A value beyond float16's range becomes infinite, and that is what the check is for.
        with np.errstate(over="ignore"):
            half = np.asarray(features, dtype=np.float16)
        if not np.isfinite(half).all():
            raise UserError(
                f"{where}: returned NaN or a value beyond ±65504; scale or repair the encoder's output"
            )
        return half

    def _open(self, view: str) -> Any:
        if view not in self._arrays:
            import zarr

            path = self.folder / f"{_file_name(view)}.zarr"
            if not path.exists():
                self._create(path, view)
            group: Any = zarr.open_group(path, mode="r+")
            if group["features"].shape[2] != self.dim:
                raise UserError(
                    f"{path}: holds {group['features'].shape[2]} features a frame, the encoder gives {self.dim}; "
                    "give the encoder another key or remove the folder"
                )
            self._arrays[view] = {name: group[name] for name in ("features", "done")}
        return self._arrays[view]

    def _create(self, path: Path, view: str) -> None:
        """Make an empty store and rename it into place; if another process was first, use that one."""
        import zarr
        from zarr.codecs import ZstdCodec

        episodes = self.dataset.num_episodes
        longest = max(self.dataset.length(episode) for episode in range(episodes))
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        group = zarr.open_group(temporary, mode="w", zarr_format=3)
        group.attrs.update({"dataset": self.dataset.fingerprint, "encoder": self.encoder_key, "view": view})
        group.create_array(
            "features",
            shape=(episodes, longest, self.dim),
            chunks=(1, longest, self.dim),
            dtype="float16",
            compressors=ZstdCodec(level=1),
            config={"write_empty_chunks": True},
        )
        group.create_array("done", shape=(episodes,), chunks=(1,), dtype="bool", compressors=None)
        try:
            temporary.rename(path)
        except OSError:
            shutil.rmtree(temporary)
            if not path.is_dir():
                raise


def _file_name(text: str) -> str:
    """A short readable file name that two different texts do not share."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", text)[:60]
    return (
        readable
        if readable == text
        else f"{readable}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
    )


def _batches(dataset: EpisodeDataset, pair: Pair, batch_size: int | None) -> Iterator[tuple[Image, bool]]:
    """Consecutive frames of one view of one episode, and whether they are the last."""
    episode, view = pair
    length = dataset.length(episode)
    size = batch_size or length
    batch: list[Image] = []
    for number, image in enumerate(dataset.frames(episode, view), start=1):
        batch.append(image)
        if len(batch) == size or number == length:
            yield np.stack(batch), number == length
            batch = []


def _decoded_ahead(
    dataset: EpisodeDataset, pairs: Sequence[Pair], batch_size: int | None
) -> Iterator[tuple[Pair, Image, bool]]:
    """Batches of all pairs in order, decoded by a thread that stays a few batches ahead."""
    ready: queue.Queue[tuple[Pair, Image, bool] | BaseException | None] = queue.Queue(maxsize=READ_AHEAD)
    stop = threading.Event()

    def put(item: tuple[Pair, Image, bool] | BaseException | None) -> None:
        while not stop.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for pair in pairs:
                for batch, last in _batches(dataset, pair, batch_size):
                    put((pair, batch, last))
                    if stop.is_set():
                        return
            put(None)
        except BaseException as error:  # noqa: BLE001 - handed over: raised again in the thread that consumes
            put(error)

    thread = threading.Thread(target=work, name="decode-ahead", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
