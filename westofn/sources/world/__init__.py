"""The embedded world: forum posts, their TL;DRs, and an annotator whose taste is known exactly.

A post states seven facts (who did what to which thing; which party wants what by when; what to
ask) among small talk, all random:

    last week my boss broke my laptop . i like chess . now the bank wants money by friday .
    it was rainy . should i sue ? tldr :

A TL;DR chooses which facts to state and how to word them:

    briefly my boss accidentally broke my laptop so bank demands money by friday should i sue

Writers (`WRITERS`) differ in a latent quality. It moves all of a response's defects together, but
only partly (`Knobs.trait_correlation`): a careless writer leaves out facts, gets some wrong, copies
small talk, says things twice, and words it in a register that annotators mostly dislike.

The gold annotator (`Gold`) adds facts stated, subtracts wrong ones, small talk, repetition,
length and broken grammar, and has a taste for each of about 180 wordings: a long tail that only
preference labels reveal, a few words a label. Labels are Bradley-Terry draws from it.

Two communities write. The forum's TL;DRs are the SFT examples, so the policy's samples vary along
the writers' quality; a share of the prompts says `careful` or `careless` (`contrast_prompt`), so
sampling under these affixes moves gold up and down. The panel's TL;DRs are the human pairs: mostly
two responses of equally good writers (near ties), with wording habits of their own.

Two axes say how the communities vary (`community_knobs`): alignment, how much of what annotators
like is what the forum varies in, and off-policyness, how much the panel varies in ways of its own.
They decide whether West-of-N can help (docs/theory.md). `Knobs` holds the other continuous
constants; nothing here reaches a training stage except through the text.
"""

from __future__ import annotations

from westofn.sources.world.gold import Gold
from westofn.sources.world.knobs import KNOBS, Knobs
from westofn.sources.world.load import load_world
from westofn.sources.world.posts import Contrast, as_prompt, contrast_prompt
from westofn.sources.world.writers import WRITERS, Writer

__all__ = [
    "KNOBS",
    "WRITERS",
    "Contrast",
    "Gold",
    "Knobs",
    "Writer",
    "as_prompt",
    "contrast_prompt",
    "load_world",
]
