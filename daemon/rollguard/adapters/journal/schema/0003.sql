-- Each channel's own line: what is due in it is found without a look at the others, however long they are.
CREATE INDEX outbox_line ON outbox (target, channel, id, due_at) WHERE state = 'waiting';

-- What has ended is forgotten after a while.
CREATE INDEX outbox_ended ON outbox (target, ended_at) WHERE ended_at IS NOT NULL;
