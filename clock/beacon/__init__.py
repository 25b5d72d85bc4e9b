"""The public draw that is mixed into a round's seed: which one it is, when it is out, how it is fetched and verified
(docs/decisions/0075)."""
