"""Rules that compare: the policy's side of the sequential test in ``core/evidence``.

``counts``: a round of readings becomes counts per machine; ``history``: the newest blocks of the app, machine by
machine; ``comparison``: one rule's bets against one release; ``relatives``: all of a target's, fed round by round,
asked at every tick, and kept across restarts.
"""
