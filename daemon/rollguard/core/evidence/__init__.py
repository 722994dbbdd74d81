"""The sequential test of relative rules: how much evidence there is that a release is worse than it may be.

A release is compared with what its own app did before (`blocks`, `bounds`), scrape by scrape, by betting against the
claim that it is within tolerance (`bets`): a bettor who wins a thousandfold against a fair coin has found one that is
not fair. It may be looked at after every scrape, for ever. `docs/judge.md` explains it to a reader without statistics.
"""
