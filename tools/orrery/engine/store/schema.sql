-- Large columns come last and have no index: a list never reads their pages.
CREATE TABLE actions (
    namespace TEXT NOT NULL,
    package TEXT NOT NULL,
    name TEXT NOT NULL,
    revision TEXT NOT NULL,
    version TEXT NOT NULL,
    publish INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    kind TEXT NOT NULL,
    is_binary INTEGER NOT NULL,
    main TEXT,
    image TEXT,
    limits TEXT NOT NULL,
    annotations BLOB NOT NULL,
    parameters BLOB NOT NULL,
    code TEXT
);
CREATE UNIQUE INDEX actions_by_name ON actions (namespace, package, name);
CREATE INDEX actions_by_time ON actions (namespace, package, updated);

-- Activations that were accepted and whose record is not complete. Emptied at every start.
CREATE TABLE running (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    action TEXT NOT NULL,
    accepted INTEGER NOT NULL,
    head BLOB NOT NULL,
    annotations BLOB NOT NULL
) WITHOUT ROWID;

-- head is the JSON of the record's first fields, without its closing brace: answers are put
-- together from these pieces and never parsed.
CREATE TABLE activations (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    namespace TEXT NOT NULL,
    action TEXT NOT NULL,
    start INTEGER NOT NULL,
    status INTEGER NOT NULL,
    head BLOB NOT NULL,
    result BLOB NOT NULL
);
CREATE UNIQUE INDEX activations_by_id ON activations (id);
CREATE INDEX activations_by_time ON activations (namespace, start);
CREATE INDEX activations_by_action ON activations (namespace, action, start);

CREATE TABLE logs (
    seq INTEGER PRIMARY KEY,
    lines BLOB NOT NULL
);
