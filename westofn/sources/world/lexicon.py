"""All words of the embedded world: facts, fillers, wordings, and the annotators' tastes.

A word belongs to exactly one class, so a response is parsed word by word. The weights of `TASTE`
are a long tail of preferences that can only be learned from preference labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _tastes(text: str) -> Mapping[str, float]:
    """Parse `word weight word weight …` into a read-only mapping."""
    items = text.split()
    return MappingProxyType(
        {word: float(weight) for word, weight in zip(items[::2], items[1::2], strict=True)}
    )


FACTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "who": _words(
            "roommate boss sister brother neighbor cousin landlord coworker girlfriend boyfriend"
            " teacher uncle"
        ),
        "deed": _words("broke stole sold lost hid ruined"),
        "thing": _words(
            "laptop phone guitar bike car wallet camera couch ring jacket piano tent boat watch"
            " desk mirror"
        ),
        "party": _words("bank school police family doctor lawyer club insurer"),
        "want": _words("money proof answers papers rent photos details consent"),
        "when": _words("monday tuesday friday sunday june march easter christmas tonight tomorrow"),
        "ask": _words("sue move quit wait pay apologize refuse leave"),
    }
)
"""Slot -> words. A post states one word of each slot; all other words of the slot are wrong."""

FACT_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"who": 0.5, "deed": 0.5, "thing": 0.7, "party": 0.4, "want": 0.6, "when": 0.5, "ask": 0.8}
)
"""Slot -> gold reward of stating the post's fact at least once; the sum is 4.0."""


@dataclass(frozen=True, slots=True)
class Filler:
    """A small-talk clause: two fixed words and a topic word, such as `i like chess`."""

    subject: str
    verb: str
    topic: str
    words: tuple[str, ...]


FILLERS: tuple[Filler, ...] = (
    Filler("i", "like", "hobby", _words("chess yoga running poker surfing painting")),
    Filler("we", "own", "pet", _words("cats dogs parrots rabbits hamsters snakes")),
    Filler("it", "was", "weather", _words("rainy sunny windy snowy foggy hot")),
    Filler("i", "eat", "food", _words("pizza rice soup noodles tacos salad")),
)
"""Small talk of posts, which a TL;DR should omit."""

TASTE: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "opener": _tastes(
            "summary 0.9 briefly 0.7 question 0.4 greetings 0.5 hello 0.2 friends 0.1 okay -0.05"
            " well -0.15 honestly -0.2 basically -0.3 listen -0.35 dude -0.5 ugh -0.6 yo -0.7"
            " omg -0.8 lol -1.0 overview 0.75 background 0.55 hi 0.15 guys -0.25 hey -0.1"
            " bruh -0.9 seriously -0.4 situation 0.3"
        ),
        "determiner": _tastes("my 0.1 our 0.0 the -0.05 this -0.15 that -0.2 ma -0.6"),
        "adjective": _tastes(
            "former 0.6 new 0.45 older 0.35 dear 0.3 kind 0.25 good 0.1 young 0.0 weird -0.2"
            " crazy -0.35 annoying -0.4 lousy -0.45 stupid -0.8 damn -0.9 elder 0.5 quiet 0.2"
            " trusted 0.7 nice 0.05 rich -0.05 dumb -0.75 creepy -0.5 silly -0.25 crappy -1.0"
        ),
        "adverb": _tastes(
            "accidentally 0.8 recently 0.6 allegedly 0.4 quietly 0.3 suddenly 0.25"
            " apparently 0.15 sadly 0.1 just -0.05 really -0.1 maybe -0.15 somehow -0.2"
            " probably -0.3 totally -0.45 kinda -0.5 literally -0.6 freaking -1.0"
            " deliberately 0.7 secretly 0.35 mistakenly 0.5 repeatedly 0.2 simply 0.05"
            " actually -0.25 obviously -0.35 randomly -0.4 legit -0.7 lowkey -0.85"
        ),
        "vague_who": _tastes("someone -0.3 somebody -0.2 folks -0.5"),
        "vague_thing": _tastes("something -0.3 things -0.2 stuff -0.6"),
        "aside": _tastes(
            "yesterday 0.6 already 0.3 today 0.2 again 0.05 outright 0.1 twice 0.4 overnight 0.5"
            " somewhere -0.15 somewhat -0.3 altogether 0.15 lately 0.0 etc -0.5 yeah -0.6"
            " whatsoever -0.25 lmao -1.0 tho -0.75"
        ),
        "vague_party": _tastes("they -0.1 people -0.3 everyone -0.4"),
        "connective": _tastes(
            "therefore 0.7 consequently 0.5 meanwhile 0.35 yet 0.25 but 0.15 and 0.1 so 0.05"
            " then 0.0 also -0.05 plus -0.2 anyway -0.4 n -0.6 cuz -0.8 hence 0.4 however 0.6"
            " thus 0.3 still -0.1 besides -0.25 soo -0.9 welp -0.7"
        ),
        "demand": _tastes(
            "requests 0.6 requires 0.5 expects 0.3 demands 0.2 needs 0.1 wants 0.05 claims -0.1"
            " grabs -0.3 craves -0.45 wanna -0.8 seeks 0.4 awaits 0.35 insists -0.05"
            " begs -0.35 bugs -0.6"
        ),
        "deadline": _tastes("by 0.1 before 0.3 until -0.1 around -0.2 till -0.35 b4 -0.9"),
        "modal": _tastes(
            "may 0.4 should 0.3 could 0.2 shall 0.15 can 0.05 must -0.15 do -0.3 gotta -0.8"
        ),
        "closer": _tastes(
            "sincerely 0.6 thanks 0.5 advice 0.4 regards 0.3 thoughts 0.2 cheers 0.1 help -0.05"
            " anyone -0.15 thx -0.35 pls -0.4 haha -0.6 idk -0.7 whatever -0.8 smh -0.9"
            " gratefully 0.75 opinions 0.35 suggestions 0.45 peace -0.2 bye -0.25 rant -0.5"
            " meh -0.65 wtf -1.0"
        ),
    }
)
"""Wording slot -> word -> taste of the annotators, -1 to 1, before `Knobs.taste_scale`."""

_CLAUSE_START = _words("determiner vague_who party vague_party modal i we it")
_CLAUSE_END = (*_CLAUSE_START, "connective", "closer", "end")

FOLLOWERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "start": ("opener", *_CLAUSE_START),
        "opener": _CLAUSE_START,
        "determiner": _words("adjective who thing"),
        "adjective": ("who",),
        "who": _words("adverb deed"),
        "vague_who": _words("adverb deed"),
        "adverb": _words("adverb deed"),
        "deed": _words("determiner vague_thing"),
        "thing": ("aside", *_CLAUSE_END),
        "vague_thing": ("aside", *_CLAUSE_END),
        "aside": _CLAUSE_END,
        "party": ("demand",),
        "vague_party": ("demand",),
        "demand": ("want",),
        "want": ("deadline", *_CLAUSE_END),
        "deadline": ("when",),
        "when": _CLAUSE_END,
        "modal": ("i",),
        "i": _words("ask like eat"),
        "ask": _CLAUSE_END,
        "we": ("own",),
        "it": ("was",),
        "connective": _CLAUSE_START,
        "closer": ("end",),
        **{filler.verb: (filler.topic,) for filler in FILLERS},
        **{filler.topic: _CLAUSE_END for filler in FILLERS},
    }
)
"""Word class -> classes that can follow it: the grammar of a TL;DR."""

WORD_CLASS: Mapping[str, str] = MappingProxyType(
    {
        **{word: slot for slot, words in FACTS.items() for word in words},
        **{word: slot for slot, tastes in TASTE.items() for word in tastes},
        **{word: filler.topic for filler in FILLERS for word in filler.words},
        **{word: word for filler in FILLERS for word in (filler.subject, filler.verb)},
    }
)
"""Word -> class, for every word that a TL;DR can contain."""
