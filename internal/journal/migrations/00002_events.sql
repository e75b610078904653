-- SPDX-License-Identifier: Apache-2.0
CREATE TABLE IF NOT EXISTS events (
    id     INTEGER PRIMARY KEY,
    kind   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    detail TEXT NOT NULL,
    batch  TEXT NOT NULL DEFAULT '' -- empty until it is told
) STRICT;
