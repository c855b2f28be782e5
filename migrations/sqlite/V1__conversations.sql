-- Facts about the database itself: its epoch.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Names as of the last login, and when somebody was last online.
CREATE TABLE users (
    id TEXT PRIMARY KEY,
    name TEXT,
    last_seen_at INTEGER
) STRICT, WITHOUT ROWID;

-- `number` stands for the conversation in all other tables: shorter than its id, and in order of creation.
CREATE TABLE conversations (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    kind INTEGER NOT NULL CHECK (kind IN (0, 1)), -- direct, group
    title TEXT NOT NULL,
    invite BLOB UNIQUE,
    pair TEXT UNIQUE, -- direct: both user ids, sorted, with a space between
    created_at INTEGER NOT NULL,
    active_at INTEGER NOT NULL, -- the first 64 bits of the newest message's id, or of the conversation's
    head INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    last_message_seq INTEGER NOT NULL,
    member_count INTEGER NOT NULL,
    next_join_number INTEGER NOT NULL
) STRICT;

-- unread = (conversations.messages - read_messages) - (sent - read_sent), where read_messages counts the messages up to
-- read_seq, sent the member's own ones since they joined, and read_sent those of them up to read_seq.
CREATE TABLE members (
    conversation INTEGER NOT NULL REFERENCES conversations (number),
    user TEXT NOT NULL,
    role INTEGER NOT NULL CHECK (role IN (0, 1)), -- owner, member
    join_number INTEGER NOT NULL,
    read_seq INTEGER NOT NULL,
    read_messages INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    read_sent INTEGER NOT NULL,
    last_sent_seq INTEGER NOT NULL,
    PRIMARY KEY (conversation, user)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_by_user ON members (user, conversation);

-- Every conversation's log. `messages` counts the messages up to this row.
CREATE TABLE log (
    conversation INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL CHECK (kind IN (0, 1, 2)), -- message, member joined, member left
    messages INTEGER NOT NULL,
    user TEXT NOT NULL,
    name TEXT NOT NULL,
    at INTEGER NOT NULL,
    id BLOB,
    content TEXT,
    client_message_id TEXT,
    reply_to BLOB,
    PRIMARY KEY (conversation, seq)
) STRICT, WITHOUT ROWID;

-- Finds a message by its client message id. `digest` is 64 bits of a hash over sender and client message id, a quarter of their
-- size; rows that share one by accident are told apart in the log.
CREATE TABLE client_ids (
    conversation INTEGER NOT NULL,
    digest INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (conversation, digest, seq)
) STRICT, WITHOUT ROWID;
