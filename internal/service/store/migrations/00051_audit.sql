-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- What staff and the console have done, each entry chained to the one before by
-- its hash (internal/service/audit). Rows are only ever added.
CREATE TABLE audit_entries (
    number      BIGINT NOT NULL PRIMARY KEY,
    at          BIGINT NOT NULL,
    -- A member of staff by name, or `console`, `device` or `owner`.
    actor       TEXT   NOT NULL,
    action      TEXT   NOT NULL,
    -- What it was about; empty where it was about none.
    case_number TEXT   NOT NULL,
    account_id  TEXT   NOT NULL,
    device_id   TEXT   NOT NULL,
    detail      TEXT   NOT NULL,
    previous    TEXT   NOT NULL,
    hash        TEXT   NOT NULL
);
CREATE INDEX audit_entries_case ON audit_entries (case_number, number);
CREATE INDEX audit_entries_account ON audit_entries (account_id, number);
CREATE INDEX audit_entries_device ON audit_entries (device_id, number);

-- The newest entry, signed (JWS) by the service's key. Whoever adds an entry
-- changes this row first: so two servers add one after the other.
CREATE TABLE audit_head (
    id     BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    number BIGINT NOT NULL,
    hash   TEXT   NOT NULL,
    signed TEXT   NOT NULL
);
INSERT INTO audit_head (id, number, hash, signed) VALUES (1, 0, '', '');

-- +goose Down
DROP TABLE audit_head;
DROP TABLE audit_entries;
