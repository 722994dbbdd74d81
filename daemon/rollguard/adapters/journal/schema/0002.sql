-- What a channel called the message that began a key: its next page goes to the same thread or issue.
ALTER TABLE outbox ADD COLUMN thread TEXT NOT NULL DEFAULT '';

CREATE INDEX outbox_threads ON outbox (target, channel, key, id) WHERE thread <> '';

-- What was learnt and would be missed, but on which no act rests: the newest text under each name.
CREATE TABLE kept (
    target TEXT NOT NULL,
    name   TEXT NOT NULL,
    text   TEXT NOT NULL,
    PRIMARY KEY (target, name)
) STRICT;
