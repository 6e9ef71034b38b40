"""The replies that a model may give, as sequences of tokens: what may come next, and how probable each reply was.

A reply is one of a few first lines (the actions that remain), then one of 10,001 numbers; or, for shuffled frames, a
percentage for each. Each part is tokenised by itself, in training as here, so that the language is a finite set of
token sequences for any tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from progress_rm.models.procvlm.questions import frame_text, percent_text, progress_text, remaining_text

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_PAD = -1
NUMBER = r"<progress>(?:\d\d\.\d\d|100\.00)%</progress>"


class Choices:
    """Token sequences of which none begins another, sorted, so that those with a common beginning lie together.

    Args:
        sequences: N of them, none empty.
    """

    def __init__(self, sequences: Sequence[Sequence[int]]) -> None:
        self.longest = max(map(len, sequences))
        table = np.full((len(sequences), self.longest), _PAD, np.int64)
        for row, sequence in zip(table, sequences, strict=True):
            row[: len(sequence)] = sequence
        self.order: Ints = np.lexsort(table.T[::-1])
        self._table = table[self.order]

    def next(self, low: int, high: int, depth: int) -> tuple[Ints, Ints]:
        """What may follow in sorted rows `low` to `high`, alike up to `depth`.

        Returns:
            tokens int64 [C], and bounds int64 [C + 1]: token c leads to the rows bounds[c] to bounds[c + 1]. None where
            the sequence is complete.
        """
        if depth == self.longest or self._table[low, depth] == _PAD:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        tokens, starts = np.unique(self._table[low:high, depth], return_index=True)
        return tokens, np.append(starts + low, high)

    def __len__(self) -> int:
        return len(self._table)


class Grammar:
    """Replies of several parts, each of them one of some choices.

    Args:
        kind: of the question that is replied to.
        pattern: a regular expression of the same replies.
        parts: in order.
        end: the token that ends a reply.
    """

    def __init__(self, kind: str, pattern: str, parts: Sequence[Choices], end: int) -> None:
        self.kind, self.pattern, self.parts, self.end = kind, pattern, tuple(parts), end
        self._known: dict[tuple[int, ...], tuple[int, int, int, int]] = {}

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest reply."""
        return sum(part.longest for part in self.parts) + 1

    def allowed(self, said: Sequence[int]) -> list[int]:
        """Tokens that may follow what was said."""
        part, low, high, depth = self._place(tuple(said))
        if part == len(self.parts):
            return [self.end]
        found: list[int] = self.parts[part].next(low, high, depth)[0].tolist()
        return found

    def _place(self, said: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Part, sorted rows from … to, and depth in them."""
        if not said:
            return 0, 0, len(self.parts[0]), 0
        if said not in self._known:
            if len(self._known) > 100_000:
                self._known.clear()
            part, low, high, depth = self._place(said[:-1])
            if part < len(self.parts):
                tokens, bounds = self.parts[part].next(low, high, depth)
                at = int(np.searchsorted(tokens, said[-1]))
                low, high, depth = int(bounds[at]), int(bounds[at + 1]), depth + 1
                if not len(self.parts[part].next(low, high, depth)[0]):
                    part, low, depth = part + 1, 0, 0
                    high = len(self.parts[part]) if part < len(self.parts) else 0
            self._known[said] = part, low, high, depth
        return self._known[said]

    def posterior(self, said: Sequence[int], probs_of: Callable[[int, Ints], Floats]) -> tuple[Floats, ...]:
        """How probable each choice was for each part, as far as one reply tells.

        Where the reply might have gone elsewhere, the probability of going there is spread evenly over what could
        have followed.

        Args:
            said: the tokens of a complete reply.
            probs_of: from a step and its allowed tokens [C] to their probabilities [C], summing to one.

        Returns:
            For each part float [C], summing to one; given the parts before it as they were said.
        """
        masses = [np.zeros(len(part)) for part in self.parts]
        reach, before = 1.0, 0
        for step, token in enumerate(said):
            part, low, high, depth = self._place(tuple(said[:step]))
            if part == len(self.parts):
                break
            if part != before:
                reach, before = 1.0, part
            tokens, bounds = self.parts[part].next(low, high, depth)
            probs, mass = probs_of(step, tokens), masses[part]
            for other, share, start, stop in zip(tokens, probs, bounds[:-1], bounds[1:], strict=True):
                if other != token:
                    mass[start:stop] += reach * share / (stop - start)
                else:
                    chosen, kept = (start, stop), share
            reach *= kept
            if self._place(tuple(said[: step + 1]))[0] != part:
                mass[chosen[0] : chosen[1]] += reach
        found = [np.zeros(len(mass)) for mass in masses]
        for result, choices, mass in zip(found, self.parts, masses, strict=True):
            result[choices.order] = mass
        return tuple(found)


class ReplyGrammar(Grammar):
    """The replies about progress for a task with K stages: K + 1 first lines, then a number.

    Args:
        encode: from a text to its tokens.
        end: the token that ends a reply.
        stages: K names.
        numbers: what `numbers` made, shared by the tasks of a model.
    """

    def __init__(
        self, encode: Callable[[str], Sequence[int]], end: int, stages: Sequence[str], numbers: Choices
    ) -> None:
        lines = [remaining_text(stages[k:]) for k in range(len(stages) + 1)]
        super().__init__(
            "progress", pattern(stages), (Choices([encode(line) for line in lines]), numbers), end
        )

    @staticmethod
    def numbers(encode_all: Callable[[Sequence[str]], Sequence[Sequence[int]]]) -> Choices:
        """All numbers from 00.00 to 100.00."""
        return Choices(encode_all([progress_text(n / 10_000) for n in range(10_001)]))


def pattern(stages: Sequence[str]) -> str:
    """A regular expression of the same replies as `ReplyGrammar`."""
    # `re.escape` also escapes spaces, which grammar compilers do not know.
    texts = [remaining_text(stages[k:]) for k in range(len(stages) + 1)]
    lines = [re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", text).replace("\n", r"\n") for text in texts]
    return f"(?:{'|'.join(lines)}){NUMBER}"


class ShuffledGrammar(Grammar):
    """The replies about N shuffled frames: a line with a percentage, 0 to 100, for each.

    Args:
        encode: from a text to its tokens.
        end: the token that ends a reply.
        count: N.
    """

    def __init__(self, encode: Callable[[str], Sequence[int]], end: int, count: int) -> None:
        percents = Choices([encode(percent_text(n / 100)) for n in range(101)])
        names = [frame_text(n) for n in range(1, count + 1)]
        parts = [part for name in names for part in (Choices([encode(name)]), percents)]
        lines = (rf"{name}(?:\d|[1-9]\d|100)%\n" for name in names)
        super().__init__("shuffled", "".join(lines), parts, end)
