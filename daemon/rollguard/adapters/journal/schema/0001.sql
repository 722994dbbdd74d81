-- What happened, in the order it was written down. `body` is the event as JSON; nothing here is ever changed.
CREATE TABLE event (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    target TEXT NOT NULL,
    at     REAL NOT NULL,
    name   TEXT NOT NULL,
    body   TEXT NOT NULL
) STRICT;

CREATE INDEX event_of_target ON event (target, seq);

-- Pages on their way to people, written in the transaction of the events that caused them.
CREATE TABLE outbox (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    target   TEXT NOT NULL,
    channel  TEXT NOT NULL,
    key      TEXT NOT NULL,
    page     TEXT NOT NULL,
    state    TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dropped')),
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at   REAL NOT NULL DEFAULT 0,
    ended_at REAL,
    error    TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX outbox_waiting ON outbox (target, channel, key, id) WHERE state = 'waiting';
