"""The embedded world: forum posts, TL;DRs, and an annotator with an exactly known reward.

A post states seven facts (who did what to which thing; which party wants what by when; what to
ask) among small talk, all random:

    last week my boss broke my laptop . i like chess . now the bank wants money by friday .
    it was rainy . should i sue ? tldr :

A TL;DR chooses which facts to state and how to word them:

    briefly my boss accidentally broke my laptop so bank demands money by friday should i sue

Writers (`WRITERS`) differ in a latent quality, with which all defects of a response are correlated
(`Knobs.trait_correlation`): a careless writer omits facts, states wrong facts, copies small talk,
repeats words, and uses a register of words that annotators mostly dislike.

The gold annotator (`Gold`) rewards stated facts, penalises wrong facts, small talk, repetition,
length and broken grammar, and has a taste for each of about 180 words: a long tail that can only
be learned from preference labels, a few words per label. Labels are Bradley-Terry draws.

There are two communities of writers. The forum's TL;DRs are the SFT examples, so the policy's
samples vary in the writers' quality. A share of the SFT prompts contains `careful` or `careless`
(`contrast_prompt`), so sampling with these affixes raises or lowers gold. The panel's TL;DRs are
the human pairs: mostly two responses of equally good writers (near ties), with different word
habits.

Two axes describe a world (`community_knobs`): alignment, the share of the annotators' preferences
that the forum's variation covers, and off-policyness, the share of the panel's variation that the
forum does not have. They decide whether West-of-N can help (docs/theory.md). `Knobs` holds the
other constants. Training stages see only the texts.
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
