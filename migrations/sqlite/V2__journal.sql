-- What was committed and is not yet in the tables above: one row for each commit, everything it appended in one value. A server that
-- opens the database reads it all; once everything in a row is in `log`, `client_ids`, `conversations` and `members`, it goes.
CREATE TABLE journal (
    id INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;
