-- The index: where each chunk and node lies. A cache of the packs' footers; deleting the file loses nothing.

-- Packs whose footers are in this index.
CREATE TABLE packs (
    pack        INTEGER PRIMARY KEY,
    id          BLOB    NOT NULL UNIQUE,    -- 32 bytes
    kind        INTEGER NOT NULL,           -- 0 data, 1 tree
    writer      BLOB    NOT NULL,           -- 16 bytes
    signer      BLOB    NOT NULL,           -- 16 bytes
    pack_bytes  INTEGER NOT NULL,
    entry_count INTEGER NOT NULL
) STRICT;

-- One row for each entry of each pack. The first half of the id finds it; the pack's footer confirms it.
CREATE TABLE entries (
    id    BLOB    NOT NULL,                 -- first 16 bytes
    pack  INTEGER NOT NULL,
    entry INTEGER NOT NULL,                 -- number in the pack
    PRIMARY KEY (id, pack)
) STRICT, WITHOUT ROWID;
