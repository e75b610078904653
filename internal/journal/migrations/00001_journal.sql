-- SPDX-License-Identifier: Apache-2.0
-- +goose Up
CREATE TABLE operations (
    flow_id  TEXT PRIMARY KEY,
    kind     TEXT NOT NULL,
    link_id  TEXT NOT NULL,
    begun_at INTEGER NOT NULL,
    outcome  TEXT NOT NULL DEFAULT '' -- empty while in progress
) STRICT;
CREATE INDEX operations_pending ON operations (begun_at) WHERE outcome = '';

CREATE TABLE audit (
    id     INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    event  TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
