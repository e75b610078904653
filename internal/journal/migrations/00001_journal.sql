-- SPDX-License-Identifier: Apache-2.0
CREATE TABLE IF NOT EXISTS operations (
    flow_id  TEXT PRIMARY KEY,
    kind     TEXT NOT NULL,
    link_id  TEXT NOT NULL,
    begun_at INTEGER NOT NULL,
    outcome  TEXT NOT NULL DEFAULT '' -- empty while in progress
) STRICT;
CREATE INDEX IF NOT EXISTS operations_pending ON operations (begun_at) WHERE outcome = '';

CREATE TABLE IF NOT EXISTS audit (
    id     INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    event  TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS facts (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
