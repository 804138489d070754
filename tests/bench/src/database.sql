-- The database file on the benchmark's disk: orders of a shop, about 200 bytes a row, with two indexes.
-- Everything follows from the row number, so the file is the same on every machine. ROWS is replaced by the caller.
PRAGMA page_size = 4096;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -400000;

CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
INSERT INTO word (id, text)
SELECT key, value FROM json_each('["amber","anchor","basin","birch","candle","canvas","cedar","cinder","copper","coral",
"dune","ember","fern","flint","gable","garnet","glacier","granite","harbor","hazel","heron","indigo","ivory","jasper",
"juniper","kelp","lantern","larch","linen","maple","marble","meadow","mist","moss","north","oak","ochre","olive","onyx",
"opal","orchard","pebble","pine","quartz","raven","reed","ridge","river","saffron","sage","sail","shale","silver","slate",
"spruce","stone","thistle","timber","topaz","velvet","walnut","willow","winter","zinc"]');

CREATE TABLE orders (
    id          INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL,
    ordered_at  TEXT NOT NULL,
    item        TEXT NOT NULL,
    address     TEXT NOT NULL,
    amount_cent INTEGER NOT NULL,
    token       TEXT NOT NULL,
    state       TEXT NOT NULL
) STRICT;

WITH RECURSIVE numbers (i, r) AS (
    SELECT 1, 12345
    UNION ALL
    SELECT i + 1, (r * 1103515245 + 12345 + i) % 2147483648 FROM numbers WHERE i < ROWS
)
INSERT INTO orders
SELECT i,
       r % 250000,
       strftime('%Y-%m-%dT%H:%M:%SZ', 1600000000 + i * 17 + r % 11, 'unixepoch'),
       (SELECT text FROM word WHERE id = r / 7 % 64) || ' ' || (SELECT text FROM word WHERE id = r / 449 % 64) || ', size '
           || (r / 31 % 60),
       (r / 13 % 240) || ' ' || (SELECT text FROM word WHERE id = r / 1021 % 64) || ' street, '
           || (SELECT text FROM word WHERE id = r / 65537 % 64) || 'ton ' || (10000 + r / 17 % 89999),
       r / 101 % 500000,
       printf('%08x%08x%08x', r, (r * 22695477 + 1) % 4294967296, (r * 134775813 + 7 + i) % 4294967296),
       CASE r / 3 % 5 WHEN 0 THEN 'open' WHEN 1 THEN 'returned' ELSE 'delivered' END
FROM numbers;

CREATE INDEX orders_by_customer ON orders (customer_id, ordered_at);
CREATE INDEX orders_by_token ON orders (token);
