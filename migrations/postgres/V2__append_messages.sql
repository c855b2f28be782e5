-- Appends messages, any number of them in any number of conversations, in one call and so in one round trip: an implicit transaction
-- around it saves those for BEGIN, for the locks and for COMMIT.
--
-- Its first statement takes the locks of all the conversations, in order of their ids. The second one sees what was committed when it
-- began, and so what the last holder of each lock has left.
--
-- It answers each message of a member: with the row that is in the log already under its client message id or its own id, or else
-- with its new `seq` and nothing. Of somebody who is no member it answers only what is in the log under its own id: an earlier attempt
-- has stored it, before they left.
--
-- In each conversation, `place` numbers the new messages, and the one whose place is `places` is the last. The look-ups in
-- subqueries with a limit or offset stay what they are, whatever the planner thinks of the tables' sizes.
CREATE FUNCTION append_messages(
    new_ids uuid[], to_conversations uuid[], senders text[], sender_names text[], contents text[], client_ids text[], digests bigint[],
    reply_tos uuid[], sent_ats bigint[], active_ats bigint[], periods bigint[]
) RETURNS TABLE (
    ord bigint, new_seq bigint, seq bigint, kind smallint, "user" text, name text, at bigint, id uuid, content text,
    client_message_id text, reply_to uuid
) LANGUAGE plpgsql ROWS 100 AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM conversations c WHERE c.id = ANY (to_conversations) ORDER BY c.id FOR NO KEY UPDATE;
    RETURN QUERY
    WITH input AS (
        SELECT i.*, c.number, c.head, c.messages, c.active_period, m.is_member,
               l.seq, l.kind, l."user", l.name, l.at, l.id, l.content, l.client_message_id, l.reply_to
        FROM unnest(new_ids, to_conversations, senders, sender_names, contents, client_ids, digests, reply_tos, sent_ats, active_ats, periods)
            WITH ORDINALITY AS i (new_id, conversation, sender, sender_name, new_content, new_client_id, digest, new_reply_to,
                                  sent_at, active_at, period, ord)
        JOIN conversations c ON c.id = i.conversation
        LEFT JOIN LATERAL (SELECT true AS is_member FROM members WHERE conversation = c.number AND "user" = i.sender LIMIT 1) m
            ON true
        LEFT JOIN LATERAL (SELECT * FROM log WHERE digest = i.digest OFFSET 0) l
            ON l.conversation = c.number AND l."user" = i.sender AND (l.client_message_id = i.new_client_id OR l.id = i.new_id)
    ), fresh AS (
        SELECT input.*, row_number() OVER place AS place, count(*) OVER (PARTITION BY number) AS places
        FROM input WHERE seq IS NULL AND is_member WINDOW place AS (PARTITION BY number ORDER BY ord)
    ), logged AS (
        INSERT INTO log (conversation, seq, messages, at, digest, kind, id, reply_to, "user", name, client_message_id, content)
        SELECT number, head + place, messages + place, sent_at, digest, 0, new_id, new_reply_to, sender, sender_name,
               new_client_id, new_content
        FROM fresh
    ), ended AS (
        UPDATE conversations c
        SET head = f.head + f.places, messages = f.messages + f.places, last_message_seq = f.head + f.places,
            active_at = f.active_at, active_period = CASE WHEN f.active_period = -1 THEN -1 ELSE f.period END
        FROM fresh f WHERE f.place = f.places AND c.number = f.number
    ), counted AS (
        UPDATE members m SET sent = m.sent + s.own, last_sent_seq = s.seq
        FROM (SELECT number, sender, count(*) AS own, max(head + place) AS seq FROM fresh GROUP BY number, sender) s
        WHERE m.conversation = s.number AND m."user" = s.sender
    ), listed AS (
        UPDATE memberships s SET active_period = n.period
        FROM (
            SELECT m."user", f.active_period, f.number, f.period FROM fresh f JOIN members m ON m.conversation = f.number
            WHERE f.place = f.places AND f.active_period <> -1 AND f.period <> f.active_period OFFSET 0
        ) n
        WHERE s."user" = n."user" AND s.active_period = n.active_period AND s.conversation = n.number
    )
    SELECT ord, head + place, NULL::bigint, NULL::smallint, NULL::text, NULL::text, NULL::bigint, NULL::uuid, NULL::text, NULL::text,
           NULL::uuid
    FROM fresh
    UNION ALL
    SELECT ord, NULL, seq, kind, "user", name, at, id, content, client_message_id, reply_to FROM input
    WHERE seq IS NOT NULL AND (is_member OR id = new_id);
END
$$;
