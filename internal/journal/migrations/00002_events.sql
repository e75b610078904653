-- SPDX-License-Identifier: Apache-2.0
-- +goose Up
CREATE TABLE events (
    id     INTEGER PRIMARY KEY,
    kind   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    detail TEXT NOT NULL,
    batch  TEXT NOT NULL DEFAULT '' -- empty until it is told
) STRICT;

-- +goose Down
DROP TABLE events;
